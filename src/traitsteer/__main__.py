"""`python -m traitsteer`, as dvc.yaml calls it."""

from traitsteer.cli import main

raise SystemExit(main())
