"""How well wrong labels are found, and how many are said to be there, where the truth is known.

    python tests/benchmarks/audit.py photos.npz --true clean_label

The file holds `features` [n, d] and labels [n] as whole numbers: the true ones, and any number of other labellings of
the same photos. To them symmetric and pairflip noise at 0.2 and 0.4, put into the true labels, are added. One line per
labelling: the true rate, the bracket, the detector that was chosen without looking at the truth, its AUROC, its average
precision, how many of the first 100 photos are wrong, and the seconds of processor time.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

import flowernoise

ADDED = (("symmetric", 0.2), ("symmetric", 0.4), ("pairflip", 0.2), ("pairflip", 0.4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--true", default="clean_label", help="name of the true labels")
    parser.add_argument("--each", action="store_true", help="print every estimate and every candidate, too")
    parser.add_argument("--seed", type=int, default=0, help="of the audit; noise that is added has seed 1")
    asked = parser.parse_args()
    with np.load(asked.file) as held:
        features, true = held["features"], held[asked.true]
        labellings = {
            name: held[name]
            for name in held.files
            if name not in ("features", asked.true) and held[name].shape == true.shape and held[name].dtype.kind in "iu"
        }
    for noise, rate in ADDED:
        labellings[f"{noise} {rate}"] = flowernoise.corrupt_labels(true, noise, rate=rate, seed=1).labels
    print("| labels | wrong | bracket | detector | AUROC | average precision | first 100 | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for name, labels in labellings.items():
        begun = time.process_time()
        issues = flowernoise.find_label_issues(labels, features=features, seed=asked.seed)
        seconds = time.process_time() - begun
        wrong, noise_found = labels != true, issues.noise
        print(
            f"| {name} | {wrong.mean():.3f} | {noise_found.rate_low:.3f}–{noise_found.rate_high:.3f} "
            f"| `{issues.detector}` | {roc_auc_score(wrong, issues.score):.3f} "
            f"| {average_precision_score(wrong, issues.score):.3f} | {wrong[issues.ranked()[:100]].sum()} "
            f"| {seconds:.0f} |",
            flush=True,
        )
        if asked.each:
            print({key: round(each.rate - wrong.mean(), 3) for key, each in noise_found.estimates.items()})
            print(
                "flagged", issues.is_label_issue.mean().round(3), "right", wrong[issues.is_label_issue].mean().round(3)
            )
            kinds = np.unique(issues.kind[issues.is_label_issue], return_counts=True)
            print({str(kind): int(count) for kind, count in zip(*kinds, strict=True)})
            right = issues.predicted_label[wrong] == true[wrong]
            print("suggested right, of the wrong", right.mean().round(3), flush=True)


if __name__ == "__main__":
    main()
