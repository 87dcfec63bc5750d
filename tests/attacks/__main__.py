"""All attacks, side by side in processes of their own, and one table of them: attack, cases, failures.

python -m tests.attacks                                  minutes of one CPU
python -m tests.attacks --cases 600 --kills 20           less of it
"""

import argparse
import subprocess
import sys


def main() -> int:
    """Prints the table; what failed, and how to repeat it, is on stderr."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", default="6000", help="Inputs that nobody meant.")
    parser.add_argument("--kills", default="160", help="Processes that are killed.")
    parser.add_argument("--seed", default="0")
    given = parser.parse_args()
    attacks = {
        "tests.attacks.fuzz": ["--cases", given.cases, "--seed", given.seed],
        "tests.attacks.crash": ["--kills", given.kills, "--seed", given.seed],
        "tests.sandbox.test_hostile": [],
    }
    started = [
        subprocess.Popen([sys.executable, "-m", module, *words], stdout=subprocess.PIPE, text=True)
        for module, words in attacks.items()
    ]
    rows, failed = list[list[str]](), False
    for process in started:
        printed, _ = process.communicate()
        failed |= process.returncode != 0
        cells = [
            [cell.strip() for cell in line.strip("| ").split("|")] for line in printed.splitlines() if line[:2] == "| "
        ]
        rows += [cell for cell in cells if cell[1].isdigit() and not cell[0].startswith("all")]
    print("| attack | cases | failures |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(f"| all | {sum(int(row[1]) for row in rows)} | {sum(int(row[2]) for row in rows)} |")
    return failed


if __name__ == "__main__":
    sys.exit(main())
