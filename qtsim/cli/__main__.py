"""python -m qtsim.cli"""

from qtsim.cli import main

main()
