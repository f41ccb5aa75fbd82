"""Optional compiled code: small JPEG files, listed, read, hashed and decoded in blocks.

Of large JPEG files it removes what decoding at 1/8 does not need (`short_scan.c`).

It is here if a C compiler and the headers of libjpeg-turbo were there when Plumbline was installed
(`setup.py`). Without it, and for every file that is unusual, `decode` does the same work: the bytes, and the
messages, are the same. `recent_files` also works without it. It may import `file_types`. Start reading in
`library.py`, and in `decode_blocks.py`, which uses it.
"""
