"""Which names of folders, files and CSV cells mean a split: train, val or test.

The words are those that the Hugging Face hub recognises
(https://huggingface.co/docs/hub/datasets-file-names-and-splits), and "trn" and "tst".
"""

import re

WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
# Words that may stand beside the word of a split in a folder's name: `seg_train`, `Training Set`, `val2017`.
BESIDE = frozenset(
    {"set", "sets", "data", "dataset", "images", "image", "img", "imgs", "photos", "seg", "split"}
)
GLUED = re.compile(r"(.+?)(set|data|images|imgs)")  # `trainset`
YEAR = re.compile(r"(?<=[a-z])\d{4}$")
ORDER = re.compile(r"^\d{1,2}[\s_.)-]+")  # `01_train`, `2. Validation`
# Of folders that are no class either where another folder is named like a split.
PARTS_WITHOUT_SPLIT = frozenset(
    {"unlabelled", "unlabeled", "holdout", "unseen", "inference", "predict", "unsup"}
)
FOLD = re.compile(r"(fold|split|part|shard|subset|batch)[\s_.-]*\d+", re.IGNORECASE)
SPLIT_OF = {word: split for split, words in WORDS.items() for word in words}


def split_of(name: str) -> str:
    """The split that a name means, whatever its case; empty if it means none.

    >>> [split_of(name) for name in ("Train", "seg_test", "val2017", "Training Set", "03_test", "tram")]
    ['train', 'test', 'val', 'train', 'test', '']
    """
    words = [YEAR.sub("", word) for word in re.split(r"[\s_.-]+", ORDER.sub("", name.lower())) if word]
    glued = [GLUED.fullmatch(word) for word in words]
    words = [
        match[1] if match and match[1] in SPLIT_OF else word for word, match in zip(words, glued, strict=True)
    ]
    splits = [SPLIT_OF[word] for word in words if word in SPLIT_OF]
    return splits[0] if len(splits) == 1 and set(words) - SPLIT_OF.keys() <= BESIDE else ""


def is_no_class(name: str) -> bool:
    """Whether a folder beside that of a split is no class: `unlabelled`, `holdout`, another split."""
    return bool(split_of(name)) or name.lower() in PARTS_WITHOUT_SPLIT


def is_fold(name: str) -> bool:
    """Whether a name is that of a numbered part of a dataset, such as `fold_1`."""
    return FOLD.fullmatch(name) is not None
