"""Pretrained language models, and the predictors that several methods share.

Knows nothing about any of them itself: it sets what has to be set before PyTorch is used.

Texts have many lengths, and for each length oneDNN keeps a kernel of every product: by default the
last 1,024 of them twice over, which made 3 GB in 13 minutes of training on CPU. So fewer are
kept, which costs no time that could be measured. Both caches read their size at their first product
(torch 2.13), and never again.

Threads wait for one another at the end of every product, at full speed: by default up to some 10 ms
(300,000 turns of GNU's OpenMP). Where another process is busy, the thread that they wait for may
not have begun because of this very waiting: a step of a small model took seconds and not 4 ms. So
they wait for 10,000 turns and then sleep, which costs nothing on an idle machine (1,000 turns cost
a fifth of a step). OpenMP reads the number when it is loaded, with torch or scikit-learn. Who sets
GOMP_SPINCOUNT or OMP_WAIT_POLICY keeps what is set.
"""

import logging
import os
import sys

_CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
_KERNELS = "128"

_WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
_TURNS = "10000"

if not any(name in os.environ for name in _WAITING):
    os.environ["GOMP_SPINCOUNT"] = _TURNS

_unset = [name for name in _CACHES if name not in os.environ]
for _name in _unset:
    os.environ[_name] = _KERNELS

# Whether a product has been made cannot be asked, only whether torch was there to make one.
if _unset and "torch" in sys.modules:
    logging.getLogger(__name__).warning(
        "Expected pollice to be imported before torch, but torch was first. If it has multiplied "
        "matrices on the CPU already, it may hold some GB more when texts have many lengths. "
        "Import pollice.models first, or set %s before Python starts.",
        " and ".join(f"{name}={_KERNELS}" for name in _unset),
    )

# Where bitsandbytes is installed, it warns at every import that 4-bit weights could be faster on
# CPU, where they are not used.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
