"""`dgafvsr serve` with a model that only enlarges: `python -m tests.apps.web.served HOLD [OPTION...]`."""

import sys
from pathlib import Path

import dgafvsr.pipeline
from dgafvsr.apps.cli.main import run
from tests.apps.web.standins import SlowPipeline

if __name__ == "__main__":
    dgafvsr.pipeline.DGAFVSRPipeline = SlowPipeline(hold=Path(sys.argv[1]))
    sys.exit(run(["serve", *sys.argv[2:]]))
