"""Optional: blocks of small JPEG files read, hashed and decoded by compiled code, on all cores.

It is here if a C compiler and the headers of libjpeg-turbo were there when Plumbline was installed
(`setup.py`). Without it, and for every file that is unusual, `decode` does the same work: the bytes, and the
messages, are the same. It may import `decode` and `threads`. Start reading in `blocks.py`.
"""
