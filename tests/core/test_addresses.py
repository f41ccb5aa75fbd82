from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core import addresses
from tasks.core.data.inference import inputs
from tasks.core.data.sources import resolve
from tasks.core.errors import UsageError
from tasks.core.workspace import Workspace

AZURE = "https://a.blob.core.windows.net/c/x.zip?sv=2024-11-04&st=2026-01-01&se=2026-02-01&sr=b&sp=r&sig=abc%2Bdef%3D"
AWS = "https://b.s3.amazonaws.com/x.zip?X-Amz-Algorithm=AWS4&X-Amz-Credential=AKIA%2F1&X-Amz-Signature=9f8e"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://ann:secret@host:8443/a/x.zip", "https://host:8443/a/x.zip"),
        ("https://ghp_token123@host/x.zip", "https://host/x.zip"),
        ("sftp://ann:p%40ss@host/data", "sftp://host/data"),
        ("ftp://ann:p@ss@host/data", "ftp://host/data"),
        ("http://ann:pa/ss@host/data", "http://host/data"),
        (AZURE, "https://a.blob.core.windows.net/c/x.zip"),
        (AWS, "https://b.s3.amazonaws.com/x.zip"),
        ("https://host/get?id=7&token=abc&page=2", "https://host/get?id=7&page=2"),
        ("https://host/get?token=abc&id=7", "https://host/get?id=7"),
        ("https://host/x#access_token=abc", "https://host/x"),
        ("https://host/x?api_key=1&apikey=2&Expires=3&Policy=4&Key-Pair-Id=5", "https://host/x"),
        ("zip://in/a::https://ann:secret@host/x.zip?sig=1", "zip://in/a::https://host/x.zip"),
        # These have nothing to hide, and stay as they are.
        *[(same, same) for same in (
            "https://host:80/x.zip", "https://host/get?id=7&design=2&author=ann", "hf://datasets/a/b@main/c",
            "abfs://container@account.dfs.core.windows.net/x", "github://org:repo@main/x", "s3://bucket/what?.jpg",
            "/data/photos", "C:/photos", "https://[::1]:80/x", "https://host/a@b/c", "s3://bucket/a@b.jpg",
        )],
    ],
)  # fmt: skip
def test_addresses_without_secrets(address: str, shown: str) -> None:
    assert addresses.concealed(address) == shown
    assert addresses.whole(shown) == address
    assert addresses.without_secrets(f"cannot read {address} now") == f"cannot read {shown} now"


def test_secrets_that_were_given_are_found_in_any_text() -> None:
    """Errors of libraries show parts of an address, and passwords as they are meant."""
    addresses.concealed("https://ann:Tr0ub4dor%263@host/x?sig=Zm9vYmFyYmF6")
    for text in ("login failed for Tr0ub4dor&3", "Tr0ub4dor%263", "bad signature: Zm9vYmFyYmF6"):
        shown = addresses.without_secrets(text)
        assert "Tr0ub4dor" not in shown
        assert "Zm9v" not in shown
        assert "..." in shown


def test_errors_show_no_secret() -> None:
    error = UsageError("no https://ann:secret1@host/x", found="GET https://host/x?sig=abcdefgh", todo="ok")
    assert "secret1" not in str(error) + repr(error)
    assert "abcdefgh" not in str(error)


def test_workspace_address_with_a_password_is_refused() -> None:
    with pytest.raises(UsageError, match="password or a key") as error:
        Workspace.at("s3://AKIA:hush-hush@bucket/prefix")
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("text", ["http://[x", "http://x:99999/a.zip", "~nobody-of-that-name/x"])
@pytest.mark.parametrize("use", [Workspace.at, resolve.resolve, lambda text: inputs.check_inputs([text])])
def test_what_cannot_be_taken_apart_is_refused(use: Callable[[str], object], text: str) -> None:
    with pytest.raises(UsageError):
        use(text)
    assert not addresses.is_readable("http:///x")


def test_workspace_or_dataset_in_a_folder_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    (folder / "cat").mkdir(parents=True)
    for look, path in (
        (Workspace.at, folder),
        (Workspace.at, folder / "ws"),
        (resolve.resolve, folder / "cat"),
    ):
        with pytest.raises(UsageError, match="is not UTF-8") as caught:
            look(str(path))
        assert "caf\\xe9" in str(caught.value.parts["found"])
