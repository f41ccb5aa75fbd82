"""Which folders are splits and which are classes, by their names and by what lies in them.

A folder named like a split that has class folders is a split. One with images of its own and no folders has
no labels: it is left out, and said. What could be read in two ways is refused by name: otherwise a model
would learn to tell training images from test images.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.core.data.files import class_names
from tasks.core.data.files.class_names import layout_error
from tasks.core.data.split_names import is_fold, is_no_class, split_of
from tasks.core.errors import DataError

LAYOUTS = "<class>/*.jpg or {train,val,test}/<class>/*.jpg, with two classes or more"
SHOWN = 5  # names in a message


class TopFolder(NamedTuple):
    """A folder directly below the root.

    Args:
        name: Its name.
        subfolders: The names of its folders that are searched.
        has_images: Whether an image lies directly in it.
    """

    name: str
    subfolders: frozenset[str]
    has_images: bool

    def __str__(self) -> str:
        inside = f"the folders {_names(sorted(self.subfolders))}" if self.subfolders else ""
        images = "images" if self.has_images else ""
        return (
            f"{self.name} with {' and '.join(filter(None, (inside, images))) or 'neither images nor folders'}"
        )


def find_splits(root: str, folders: Sequence[TopFolder]) -> dict[str, str]:
    """The splits by folder name; empty if the folders are classes.

    Args:
        root: The source's path, for messages.
        folders: The folders directly below the root.

    Raises:
        DataError: The folders are no classes, and no splits with a train split, or could be either. In
            `any_classes` no train split is needed.
    """
    _refuse_folds(root, folders)
    named = [folder for folder in folders if split_of(folder.name)]
    labelled = [folder for folder in named if folder.subfolders]
    if not labelled:
        _refuse_flat_splits(root, folders, named)
        return {}
    splits = [split_of(folder.name) for folder in labelled]
    if "train" not in splits and not class_names.are_any():
        raise _refusal(
            root,
            f"has class folders in {_names([folder.name for folder in labelled])}, but no train split",
            folders,
            "add train/<class>/*, or give the folder whose subfolders are the classes",
        )
    if len(set(splits)) < len(splits):
        raise _refusal(root, "has two folders for one split", labelled, "leave one folder for each split")
    first = splits.index("train") if "train" in splits else 0
    _refuse_beside(root, folders, named, labelled[first])
    return {folder.name: split for folder, split in zip(labelled, splits, strict=True)}


def _refuse_folds(root: str, folders: Sequence[TopFolder]) -> None:
    """Refuse numbered parts that have the classes in them, and splits inside the classes."""
    full = [folder for folder in folders if folder.subfolders or folder.has_images]
    if full and all(is_fold(folder.name) and folder.subfolders for folder in full):
        todo = "move them together as <class>/*, or name the parts train, val and test"
        raise _refusal(root, "has numbered parts, not classes", folders, todo)
    unnamed = [folder for folder in full if not split_of(folder.name)]
    if unnamed and unnamed == full and all(_has_only_splits(folder) for folder in full):
        todo = "move them: train/<class>/* and test/<class>/*"
        raise _refusal(root, "has the splits inside the classes", folders, todo)


def _has_only_splits(folder: TopFolder) -> bool:
    return not folder.has_images and bool(folder.subfolders) and all(map(split_of, folder.subfolders))


def _refuse_flat_splits(root: str, folders: Sequence[TopFolder], named: Sequence[TopFolder]) -> None:
    """Refuse folders that are named like splits and have no class folders.

    A single one may be a class: `train` beside `tram`, or `valid` beside `invalid`. `test` beside two classes
    or more is rather a test set without labels.
    """
    others = [folder for folder in folders if not is_no_class(folder.name)]
    with_images = [folder for folder in others if folder.subfolders or folder.has_images]
    parts = [folder for folder in folders if is_no_class(folder.name)]
    if not named or (named == parts and len(named) == 1 and _may_be_class(named[0], with_images)):
        return
    if with_images:
        what = f"has {_names([folder.name for folder in parts])} beside class folders, without classes in it"
        todo = "move it away; if it is a class, give it another name, or give a CSV of path,label"
    else:
        what, todo = (
            "has splits without class folders",
            "sort the images into <split>/<class>/*, or give a CSV",
        )
    raise _refusal(root, what, folders, todo)


def _may_be_class(named: TopFolder, others: Sequence[TopFolder]) -> bool:
    return bool(others) and (split_of(named.name) == "train" or len(others) == 1)


def _refuse_beside(
    root: str, folders: Sequence[TopFolder], named: Sequence[TopFolder], split: TopFolder
) -> None:
    """Refuse a folder beside a split that has its classes too, or that makes the split a possible class."""
    others = [folder for folder in folders if not split_of(folder.name)]
    shared = [folder for folder in others if folder.subfolders & split.subfolders]
    if shared:
        what = f"has a folder beside {split.name} that is not a split"
        raise _refusal(root, what, [*shared, split], "name it train, val or test, or move it away")
    filled = [
        folder
        for folder in others
        if (folder.subfolders or folder.has_images) and not is_no_class(folder.name)
    ]
    if filled and list(named) == [split]:
        todo = f"if {split.name} is a split, move the others away; if it is a class, give it another name"
        raise _refusal(
            root, f"could be read in two ways: {split.name} as a split or as a class", folders, todo
        )


def _refusal(root: str, what: str, folders: Sequence[TopFolder], todo: str) -> DataError:
    shown = "; ".join(map(str, folders[:SHOWN])) + ("; ..." if len(folders) > SHOWN else "")
    return layout_error(root, what, LAYOUTS, shown, todo)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
