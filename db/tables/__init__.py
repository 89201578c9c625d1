"""Every table, by being imported: a new area adds a file to `central/` or `pool/` and edits nothing here.

No table is named here and nothing is passed on: take a table from its own module.
"""

import importlib
import pkgutil

for _module in pkgutil.walk_packages(__path__, prefix=f"{__name__}."):
    importlib.import_module(_module.name)
