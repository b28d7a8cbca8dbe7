"""Write the generated files of the chart: `python -m diptych_operator.chart`."""

import sys
from pathlib import Path

from diptych_operator.chart.files import write

if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
