"""Print one of the shell blocks of a Markdown file: FILE NUMBER."""

import pathlib
import re
import sys

text = pathlib.Path(sys.argv[1]).read_text()
blocks = re.findall(r"^```(?:bash|sh|shell)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
sys.stdout.write(blocks[int(sys.argv[2]) - 1])
