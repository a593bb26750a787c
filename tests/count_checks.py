"""Print how many derivatives the sweep over the registry compares: ``python -m tests.count_checks``."""

import warnings

from tests.sweeps import Checks, check_op, own_ops


def main() -> None:
    total, ops = Checks(), own_ops()
    for op in ops.values():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            total = total.plus(check_op(op))
    print(
        f"{len(ops)} ops, {total.samples} samples: {total.first} first and {total.second} second derivatives "
        f"compared with finite differences ({total.kinks} at kinks), {total.variants} across dtypes and layouts"
    )


if __name__ == "__main__":
    main()
