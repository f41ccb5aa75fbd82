"""Embeds the photos of a folder, for a test that kills this process.

python killed_embed_process.py WORKSPACE FOLDER IMAGE_SIZE
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tasks.core.config import EmbedSettings, NormalizeSettings, SourceSettings
from tasks.core.data.sources.acquire import acquire
from tasks.core.data.tensors.normalize import normalize
from tasks.core.model.backbones import catalog
from tasks.core.model.features import embed
from tasks.core.workspace import Workspace

workspace = Workspace.open(sys.argv[1])
raw = acquire(SourceSettings(sys.argv[2]), workspace)
tensors = normalize(raw, NormalizeSettings(), workspace)
embed.embed(raw, tensors, EmbedSettings(catalog.DEFAULT, int(sys.argv[3])), workspace)
