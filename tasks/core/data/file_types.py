"""What a file is, by its name and its first bytes.

A file whose suffix is in `SUFFIXES` claims to be an image: it is listed unread, and decoding judges its
bytes. Of any other file the first `HEAD` bytes are looked at, so that a photo without a suffix is used, and
what is no photo is named.

Signatures: https://en.wikipedia.org/wiki/List_of_file_signatures; brands of ISO media files (MP4, HEIC,
AVIF): https://mp4ra.org/registered-types/brands; JPEG XL: ISO/IEC 18181-2; AppleDouble (`._x`): RFC 1740.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

HEAD = 32  # bytes; `ftyp` of an ISO media file has its first four compatible brands in them
HEIF_SUFFIXES = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
# Of formats that Pillow reads.
PILLOW_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif"}
    | {".tiff", ".avif", ".avifs", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".pbm", ".pgm", ".ppm"}
    | {".pnm"}
)
SUFFIXES = PILLOW_SUFFIXES | HEIF_SUFFIXES | {".jxl"}


class FileType(NamedTuple):
    """What a file is.

    Args:
        name: A phrase such as "a video (MP4)".
        is_image: Whether it is decoded.
        todo: What to do if it is an image that cannot be decoded.
    """

    name: str
    is_image: bool = False
    todo: str = ""

    @property
    def reason(self) -> str:
        """Why a file of this type is not used, for the quarantine table."""
        return f"{self.name}: {self.todo or 'not an image'}"


EXPORT = "export it as JPEG or PNG"
HEIF = FileType("HEIC", True, "pip install -e '.[heif]' to read it")
AVIF = FileType("AVIF", True, "broken, or this build of Pillow does not read it")
JPEG_XL = FileType("JPEG XL", True, f"Pillow does not read it; {EXPORT}")
RAW = FileType("a camera's raw file", True, EXPORT)
IMAGE = FileType("an image", True, "broken")
AUDIO, VIDEO = FileType("a sound"), FileType("a video (MP4)")
TEXT, EMPTY, UNKNOWN = FileType("a text"), FileType("an empty file"), FileType("of an unknown type")
MACOS, WINDOWS = FileType("a system file of macOS"), FileType("a system file of Windows")
HIDDEN = FileType("hidden", todo="its name begins with a dot; rename it if it is an image")
HIDDEN_FOLDER = FileType("a hidden or system folder", todo="it was not searched")
OUTPUT_FOLDER = FileType("a workspace or predictions of Plumbline", todo="it was not searched")
SYSTEM_REASONS = frozenset({MACOS.reason, WINDOWS.reason, OUTPUT_FOLDER.reason})
NO_FILE = FileType("not a regular file", todo="a broken link, a link to a folder, or a device")
UNLABELLED = FileType(
    "unlabelled, in a split without class folders", todo="sort it into <split>/<class>/ to use it"
)
EMPTY_SPLIT = FileType("an empty folder of a split", todo="remove it, or fill it with <class>/*")
NO_SPLIT = FileType("in a folder beside the splits", todo="move it into <split>/<class>/ to use it")
NO_LABEL = FileType("without a label", todo="its label is -1, where all labels are whole numbers")
NO_CLASS = FileType("in no class folder", todo="move it into one if it is an image of a class")

# Of formats that cannot be told by their first bytes, or not by so few.
BY_SUFFIX = {
    **dict.fromkeys((".dcm", ".dicom"), FileType("a medical image (DICOM)", todo=EXPORT)),
    **dict.fromkeys(
        (".nii", ".mha", ".nrrd"), FileType("a medical volume", todo=f"{EXPORT}, slice by slice")
    ),
    ".tga": FileType("an image (TGA)", todo=EXPORT),
    ".exr": FileType("an image (EXR)", todo=EXPORT),
}
SYSTEM_NAMES = {
    **dict.fromkeys((".ds_store", ".localized", "icon\r"), MACOS),
    **dict.fromkeys(("thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", ".picasa.ini"), WINDOWS),
}
# Resource forks in a zip of macOS; thumbnails and deleted files of network storage (Synology, QNAP), of
# Windows and of ext4. Their images are copies or no longer wanted.
SYSTEM_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "system volume information"}
    | {"lost+found"}
)
SIGNATURES: tuple[tuple[int, bytes, FileType], ...] = (  # offset, bytes, type; the first that matches
    *((0, magic, RAW) for magic in (b"II*\0\x10\0\0\0CR", b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"IIU\0")),
    *((0, magic, IMAGE) for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")),
    *((0, magic, IMAGE) for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),  # TIFF and BigTIFF
    *((0, magic, IMAGE) for magic in (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),  # JPEG 2000
    *((0, magic, JPEG_XL) for magic in (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a")),
    *((8, b"WEBP", IMAGE), (8, b"WAVE", AUDIO), (8, b"AVI ", FileType("a video (AVI)"))),
    (0, b"\x1aE\xdf\xa3", FileType("a video (Matroska or WebM)")),
    *((0, magic, FileType("a video (MPEG)")) for magic in (b"\0\0\x01\xba", b"\0\0\x01\xb3")),
    (0, b"0&\xb2u\x8ef\xcf\x11", FileType("a video (Windows Media)")),
    (0, b"FLV\x01", FileType("a video (Flash)")),
    *((0, magic, AUDIO) for magic in (b"ID3", b"\xff\xfb", b"fLaC", b"OggS", b"#!AMR", b"caff")),
    *((0, magic, MACOS) for magic in (b"\0\x05\x16\x07", b"\0\0\0\x01Bud1")),
    (0, b"8BPS", FileType("a Photoshop document (PSD)", todo=EXPORT)),
    (0, b"%PDF-", FileType("a document (PDF)", todo="export its pages as JPEG or PNG")),
    *(
        (0, magic, FileType("an archive", todo="unpack it"))
        for magic in (b"PK\x03\x04", b"\x1f\x8b", b"Rar!")
    ),
    (0, b"7z\xbc\xaf\x27\x1c", FileType("an archive", todo="unpack it")),
    *((0, magic, TEXT) for magic in (b"\xff\xfe", b"\xfe\xff")),  # UTF-16
    (0, b"<svg", FileType("a drawing (SVG)", todo=EXPORT)),
    (0, b"PAR1", FileType("a parquet file", todo="give it as a dataset of its own")),
    (0, b"\x93NUMPY", FileType("a NumPy array", todo=EXPORT)),
    (0, b"\0\0\x01\0", FileType("an icon (ICO)", todo=EXPORT)),
    (0, b"\x89HDF\r\n\x1a\n", FileType("an HDF5 file", todo=f"{EXPORT}, one file for each image")),
    (0, b"SQLite format 3\0", FileType("a database")),
    (0, b"\xd0\xcf\x11\xe0", FileType("a document (Microsoft OLE)")),
)
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}
BRANDS = {
    **dict.fromkeys(HEIF_BRANDS, HEIF),
    **dict.fromkeys(AVIF_BRANDS, AVIF),
    b"crx ": RAW,
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), AUDIO),
    b"qt  ": FileType("a video (QuickTime)"),
}
QUICKTIME_ATOMS = {b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}  # of a .mov without `ftyp`


def claims_to_be_image(name: str) -> bool:
    """Whether a file has the suffix of an image and is not hidden.

    >>> [claims_to_be_image(name) for name in ("IMG_1.HEIC", "IMG_1", "._IMG_1.JPG", "IMG_1.MOV")]
    [True, False, False, False]
    """
    dot = name.rfind(".")
    return dot > 0 and name[dot:].lower() in SUFFIXES and not name.startswith(".")


def is_searched(folder: str) -> bool:
    """Whether a folder of this name is searched for images; hidden ones and those of a system are not.

    >>> [is_searched(name) for name in ("cats", ".git", "__MACOSX", "@eaDir", "$RECYCLE.BIN")]
    [True, False, False, False, False]
    """
    return not folder.startswith(".") and folder.lower() not in SYSTEM_FOLDERS


def reason_of_folder(name: str, path: str) -> str:
    """Why a folder is not searched for images; empty if it is.

    A workspace beside the class folders, and rows of predictions among new photos, are known by what
    Plumbline keeps in them. A `.lock` alone is not enough: other programs leave one among images, too.

    Args:
        name: Its name.
        path: Its path on disk, or what stands for it.
    """
    if not is_searched(name):
        return HIDDEN_FOLDER.reason
    is_workspace = os.path.isdir(f"{path}/.running")  # noqa: PTH112 - a third of the time of `Path.is_dir`
    return OUTPUT_FOLDER.reason if is_workspace or _holds_predictions(path) else ""


def _holds_predictions(path: str) -> bool:
    if not os.path.isfile(f"{path}/.lock"):  # noqa: PTH113
        return False
    return any(name.startswith("batch=") for name in os.listdir(path))  # noqa: PTH208


def by_name(name: str) -> FileType | None:
    """The type of a system file or a hidden file; None if the name does not tell."""
    if name.startswith("._"):
        return MACOS
    return SYSTEM_NAMES.get(name.lower()) or (HIDDEN if name.startswith(".") else None)


def by_content(head: bytes) -> FileType:
    """The type of a file by its first bytes.

    Args:
        head: The first `HEAD` bytes or more; all of a shorter file.
    """
    if head[4:8] == b"ftyp":
        return _by_brands(head)
    if head[4:8] in QUICKTIME_ATOMS:
        return BRANDS[b"qt  "]
    for offset, magic, file_type in SIGNATURES:
        if head.startswith(magic, offset):
            return file_type
    if head[:2] == b"BM" and head[6:10] == bytes(4):  # "BM" alone begins many texts; these bytes are zero
        return IMAGE
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace() and head[3:4] in b"#0123456789":
        return IMAGE  # PBM, PGM, PPM
    return _by_text(head)


def _by_brands(head: bytes) -> FileType:
    """An ISO media file. The main brand `mif1` leaves open whether it is HEIC or AVIF."""
    main, compatible = head[8:12], {head[start : start + 4] for start in range(16, HEAD, 4)}
    if main not in BRANDS or main in (b"mif1", b"msf1"):
        if compatible & AVIF_BRANDS:
            return AVIF
        return HEIF if main in BRANDS or compatible & HEIF_BRANDS else VIDEO
    return BRANDS[main]


def _by_text(head: bytes) -> FileType:
    if not head:
        return EMPTY
    try:
        text = head[:HEAD].decode()
    except UnicodeDecodeError as error:
        if error.start < min(len(head), HEAD) - 3:  # otherwise a character is cut off at the end
            return UNKNOWN
        text = head[: error.start].decode()
    if any(ord(character) < 32 and character not in "\t\n\r\f" for character in text):
        return UNKNOWN
    return TEXT


def read_head(path: str) -> bytes:
    """The first `HEAD` bytes of a regular file."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - half the time of `Path.open`
        return file.read(HEAD)


def reason_of(name: str, read: Callable[[], bytes]) -> str:
    """Why a regular file is not used; empty if it is an image, or claims to be one.

    Args:
        name: Its name without folders.
        read: Reads its first `HEAD` bytes; called only if the name does not tell.
    """
    if claims_to_be_image(name):
        return ""
    if known := by_name(name):
        return known.reason
    try:
        file_type = by_content(read())
    except OSError as error:
        return f"not readable: {error.strerror or error}"
    if file_type is UNKNOWN:
        file_type = BY_SUFFIX.get(name[name.rfind(".") :].lower(), UNKNOWN)
    return "" if file_type.is_image else file_type.reason
