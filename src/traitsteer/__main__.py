"""`python -m traitsteer`, as dvc.yaml calls it."""

import gc

from traitsteer.cli import main

code = main()
# Of what is left, the process frees all at once; taken apart object by object, it takes a second.
gc.freeze()
raise SystemExit(code)
