"""Pretrained language models, and the predictors that several methods share.

Texts have many lengths, and for each length oneDNN keeps a kernel of every product: by default the
last 1,024 of them twice over, which made 3 GB in 13 minutes of training on CPU. So fewer are
kept, which costs no time that could be measured; it has to be said before torch is imported.
"""

import logging
import os

for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "128")

# Where bitsandbytes is installed, it warns at every import that 4-bit weights could be faster on
# CPU, where they are not used.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
