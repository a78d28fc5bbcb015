"""What the words of a report mean, for somebody who reads one for the first time.

Knows nothing about any one report.
"""

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {
    "Accuracy": "The share of test rows answered rightly; a row without an answer counts as wrong.",
    "Interval": (
        "The 95 % interval: if the study were repeated on other test rows of the same kind, about "
        "19 of 20 such intervals would hold the true value (Wilson's for an accuracy). That of a "
        "difference comes from McNemar's exact test and is wider where many pairs are tested: it "
        "leaves out 0 just where the verdict is better or worse."
    ),
    "Points": "Percentage points: 0.912 is 2.0 points above 0.892.",
    "Majority label": (
        "What always answering the commonest label of the test rows gives: a method near it has "
        "learnt nothing, or nothing that helps."
    ),
    "Balanced accuracy": (
        "The mean of the accuracies on each label's own rows, so that a rare label counts as much "
        "as a common one; guessing gives one half for two labels, one third for three."
    ),
    "Near chance": (
        "A method that the test rows show neither to be more accurate than the majority label "
        "(McNemar's test, after Holm over the methods) nor, by the 95 % interval of its balanced "
        "accuracy, to be better than guessing."
    ),
    "Smallest difference": (
        "From this difference on, any two of the methods are told apart by these test rows. It is "
        "smaller the more rows there are, the fewer pairs, and the more two methods agree."
    ),
    "Log loss": (
        "The average surprise at the true label, where a confident wrong answer costs most; lower "
        "is better, and guessing evenly between two labels gives 0.693."
    ),
    "ECE": (
        "Expected calibration error: how far the stated confidence lies from the share that is "
        "right, averaged over all rows with probabilities; 0 is perfect."
    ),
    "Macro F1": (
        "For each label the harmonic mean of precision and recall, then the mean over the labels; "
        "it falls when a rare label is neglected."
    ),
    "MCC": (
        "Matthews correlation: 1 when every row is right, 0 for guessing, and fair when the labels "
        "are unbalanced."
    ),
    "ROC AUC": (
        "The chance that a random row of one label is ranked above a random row of the other; 0.5 "
        "is guessing. It does not depend on where the line between the labels is drawn."
    ),
    "McNemar": (
        "A paired test: it looks only at the rows that exactly one of two methods got right, and "
        "asks whether a fair coin could have shared them out so unevenly."
    ),
    "Holm": (
        "A correction for testing many pairs at once: without it, one of twenty comparisons of "
        "equal methods would look like a finding."
    ),
    "p": (
        "How often chance alone would give a difference this large; below 0.05, after Holm, we "
        "say better or worse."
    ),
    "Not distinguishable": (
        "The test set does not show which of the two is better; that is not a proof of equality."
    ),
    "Coverage": "The share of test rows that a method answered at all.",
    "Tie": (
        "A row for which several labels share the highest probability: it is answered with the "
        "first of them by name, so the order of the columns decides nothing."
    ),
    "Unknown": "Not told by the predictions tables that were judged, and not measured here.",
    "Mean error in steps": (
        "Where labels are a scale: how many steps the answers are off on average; always answering "
        "the right step gives 0."
    ),
    "Quadratic kappa": (
        "Where labels are a scale: agreement beyond chance, in which an error of two steps counts "
        "four times one of one step; 1 is perfect, 0 is chance."
    ),
    "Spearman": (
        "Where labels are a scale: whether the rows are put in the right order by the step that "
        "the probabilities expect; 1 is the same order, 0 is none."
    ),
    "Label canary": (
        "A second fit, on shuffled labels: what still beats chance by a one-sided exact binomial "
        "test, p below 0.01, twice in a row, has seen the test labels. Chance is the share of rows "
        "that the same answers would get right in another order."
    ),
    "Flip rate": (
        "How often a sentence put into a rightly judged text makes the method answer the wrong "
        "label that the sentence asks for."
    ),
    "Planned": (
        "The peak of memory that was computed before anything was loaded, for the GPU where one is "
        "used."
    ),
    "Peak": (
        "The most memory that the whole process held while a method was fitted and judged, with "
        "libraries and caches that methods before it left loaded; on a GPU, what torch reserved."
    ),
    "Cut": "A row longer than the method can read, of which a part was left out.",
}
