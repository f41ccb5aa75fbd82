"""The built-in datasets, declared as data.

A new dataset is one more constant, listed in `DATASETS`. Sizes and hashes of the files are those in
tensorflow/datasets' `url_checksums`.
"""

from dataclasses import dataclass

from tasks.core.data.readers.array_format import ArrayFormat
from tasks.core.storage.hashing import Checksum

CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100 = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
    camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile
    cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp
    lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
    oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
    possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
    spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"

TORONTO = "https://www.cs.toronto.edu/~kriz/"  # official; 50-85 kB/s since June 2026 (pytorch/vision#9536)
SWIFT = "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/"
CVDF = "https://storage.googleapis.com/cvdf-datasets/mnist/"
PYTORCH = "https://ossci-datasets.s3.amazonaws.com/mnist/"
KERAS = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
ZALANDO = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"  # official
GITHUB = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded.

    Args:
        name: The name under which it is kept.
        urls: Addresses of identical bytes, the preferred one first.
        bytes: Its size; 0 if its publisher names none.
        sha256: 64 hexadecimal digits; empty if its publisher names none.
        md5: 32 hexadecimal digits, for a file without a published SHA-256.
    """

    name: str
    urls: tuple[str, ...]
    bytes: int
    sha256: str
    md5: str = ""

    @property
    def checksum(self) -> Checksum:
        """What its content must hash to."""
        return Checksum("sha256", self.sha256) if self.sha256 else Checksum("md5", self.md5)


@dataclass(frozen=True)
class DatasetSpec:
    """A built-in dataset.

    Args:
        name: The value of `--dataset`; models and tables are filed under it.
        format: The format of its files: "digits", "cifar" or "idx".
        array_format: Classes, shape and, for archives, their parts.
        files: What to download; empty for bundled data.
    """

    name: str
    format: str
    array_format: ArrayFormat
    files: tuple[RemoteFile, ...] = ()


def _files(lines: str, *bases: str) -> tuple[RemoteFile, ...]:
    """Remote files from lines of name, bytes and SHA-256; each is available under every one of `bases`."""
    entries = [line.split() for line in lines.strip().splitlines()]
    return tuple(
        RemoteFile(name, tuple(base + name for base in bases), int(size), sha256)
        for name, size, sha256 in entries
    )


DIGITS = DatasetSpec("digits", "digits", ArrayFormat(classes=tuple("0123456789"), shape=(8, 8, 1)))

CIFAR_10 = DatasetSpec(
    "cifar10",
    "cifar",
    ArrayFormat(
        classes=tuple(CIFAR10.split()),
        shape=(32, 32, 3),
        members=(
            *((f"cifar-10-batches-bin/data_batch_{n}.bin", "train") for n in range(1, 6)),
            ("cifar-10-batches-bin/test_batch.bin", "test"),
        ),
    ),
    _files(
        "cifar-10-binary.tar.gz 170052171 c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        SWIFT,
        TORONTO,
    ),
)

CIFAR_100 = DatasetSpec(
    "cifar100",
    "cifar",
    ArrayFormat(
        classes=tuple(CIFAR100.split()),
        shape=(32, 32, 3),
        members=(("cifar-100-binary/train.bin", "train"), ("cifar-100-binary/test.bin", "test")),
        label_bytes=2,  # the coarse label, then the fine one
    ),
    _files(
        "cifar-100-binary.tar.gz 168513733 58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        TORONTO,
    ),
)

MNIST = DatasetSpec(
    "mnist",
    "idx",
    ArrayFormat(tuple("0123456789"), shape=(28, 28, 1), members=(("train", "train"), ("t10k", "test"))),
    _files(
        """
train-images-idx3-ubyte.gz 9912422 440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
train-labels-idx1-ubyte.gz 28881 3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
t10k-images-idx3-ubyte.gz 1648877 8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
t10k-labels-idx1-ubyte.gz 4542 f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
""",
        CVDF,
        PYTORCH,
    ),
)

FASHION_MNIST = DatasetSpec(
    "fashion_mnist",
    "idx",
    ArrayFormat(tuple(FASHION.split(",")), shape=(28, 28, 1), members=(("train", "train"), ("t10k", "test"))),
    _files(
        """
train-images-idx3-ubyte.gz 26421880 3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
train-labels-idx1-ubyte.gz 29515 a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
t10k-images-idx3-ubyte.gz 4422102 346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
t10k-labels-idx1-ubyte.gz 5148 67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
""",
        KERAS,
        GITHUB,
        ZALANDO,
    ),
)

DATASETS = {dataset.name: dataset for dataset in (DIGITS, CIFAR_10, CIFAR_100, MNIST, FASHION_MNIST)}
