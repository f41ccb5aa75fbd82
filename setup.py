"""The optional compiled decoder. Everything else about the build is in pyproject.toml."""

from setuptools import Extension, setup

FOLDER = "tasks/core/data/block_decoder"

setup(
    ext_modules=[
        Extension(
            "tasks.core.data.block_decoder._decoder",
            [f"{FOLDER}/decoder.c", f"{FOLDER}/short_scan.c"],
            libraries=["jpeg"],  # libjpeg-turbo, with its headers: libjpeg-turbo8-dev, libjpeg62-turbo-dev
            extra_compile_args=["-O3"],
            optional=True,  # without a compiler or the headers it is left out, with a warning
        )
    ]
)
