"""Builds `streamd/kernel/*.pyx`, the engine's inner loops; everything else about the package is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# A result must not depend on which instructions a processor has: no fused multiply-add, no sums in another order.
# The last two only say that nobody looks at errno or at floating point exceptions, so that loops become vectors.
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
# STREAMD_CHECKED=1 builds kernels that look at every index: for tests and for finding a fault. Cython translates anew
# what has changed, not what is asked of it, hence a folder of their own.
CHECKED = bool(os.environ.get("STREAMD_CHECKED"))
# What all kernels need of arrays, once: it is most of what there is to compile.
ARRAYS = "streamd.kernel._arrays"

kernels = [
    Extension(f"streamd.kernel.{path.stem}", [str(path)], extra_compile_args=FLAGS)
    for path in sorted(Path("streamd/kernel").glob("*.pyx"))
]
setup(
    ext_modules=cythonize(
        [*kernels, Extension(ARRAYS, ["streamd/kernel/_arrays.c"])],
        shared_utility_qualified_name=ARRAYS,
        build_dir="build/checked" if CHECKED else "build/kernel",
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": "3",
            "boundscheck": CHECKED,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "embedsignature": True,
        },
    ),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
