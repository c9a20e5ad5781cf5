"""Attributes: the floor, skewed classes, and the question about a single class. Everything is counted by hand."""

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.label import NOT_GRADED, Attribute, TaskLabel


def part(labels, prediction=None, task=None):
    a = torch.tensor(labels)
    return Part(
        images=None,
        release=torch.zeros(len(a), 1),
        labels={"a": a, "y": torch.zeros_like(a) if task is None else torch.tensor(task)},
        prediction=None if prediction is None else torch.tensor(prediction),
    )


def world(train, targets=None, classes=2):
    targets = train if targets is None else targets
    return EvaluationData(train=train, validation=train, targets=targets, classes={"a": classes, "y": 2})


GOAL = Attribute(label="a")


def test_the_floor_is_the_table_from_prediction_to_attribute():
    train = part([0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1])
    targets = part([0, 1, 1], [0, 1, 0])
    assert GOAL.floor(world(train, targets)).tolist() == [True, True, False]
    assert GOAL.table(world(train, targets)).tolist() == [0, 1]


def test_the_floor_learns_from_all_that_the_attacker_owns():
    train, held, targets = part([0, 0, 1], [0, 0, 0]), part([1, 1, 1], [0, 0, 0]), part([1, 0], [0, 0])
    one = EvaluationData(train=train, validation=held, targets=targets, classes={"a": 2, "y": 2})
    assert GOAL.floor(one).tolist() == [True, False]
    assert GOAL.floor(world(train, targets)).tolist() == [False, True]


def test_without_predictions_the_floor_is_the_majority():
    assert GOAL.floor(world(part([1, 1, 0]), part([0, 1]))).tolist() == [False, True]


def test_a_prediction_that_the_pool_never_shows_means_the_majority():
    assert GOAL.floor(world(part([1, 1, 0], [0, 0, 0]), part([0, 1], [5, 5]))).tolist() == [False, True]


@pytest.mark.parametrize(("counts", "skewed"), [((25, 75), False), ((24, 76), True), ((16, 42, 42), True)])
def test_skewed_means_less_than_half_of_a_fair_share(counts, skewed):
    labels = [value for value, count in enumerate(counts) for _ in range(count)]
    assert GOAL.skewed(world(part(labels), classes=len(counts))) is skewed


def test_of_skewed_classes_as_many_of_each_are_graded_the_first_ones():
    one = world(part([1, 1, 1, 0, 1, 1, 0, 1, 1, 1]))
    assert GOAL.graded(one, one.targets).tolist() == [0, 1, 3, 6]
    assert TaskLabel(label="a").graded(one, one.targets).tolist() == list(range(10))
    fair = world(part([1, 1, 0, 1, 0]))
    assert GOAL.graded(fair, fair.targets).tolist() == list(range(5))


def test_the_rate_on_the_graded_rows_is_balanced_accuracy_where_all_of_the_rarest_class_are_graded():
    labels = [1] * 30 + [0] * 6
    one = world(part(labels))
    rows = GOAL.graded(one, one.targets)
    guess = torch.nn.functional.one_hot(torch.tensor([1, 0, 1, 1, 1, 1] * 6), 2).float()
    graded = GOAL.rows(guess, one.targets)[rows]
    truth, said = torch.tensor(labels)[rows], guess.argmax(1)[rows]
    assert float(graded.float().mean()) == pytest.approx(balanced_accuracy_score(truth, said))
    assert GOAL.chance(truth) == 0.5


def test_the_skewed_floor_is_the_prediction_under_which_a_class_is_more_frequent_than_usual():
    # p(0) = .2; prediction 1 raises it to .4, so 0 is the guess although 1 stays more frequent.
    train = part([1] * 5 + [0] * 2 + [1] * 3, [0] * 5 + [1] * 5)
    targets = part([0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1])
    one = world(train, targets)
    assert GOAL.skewed(one)
    assert GOAL.table(one).tolist() == [1, 0]
    assert GOAL.floor(one).tolist() == [True, True]


def test_guesses_are_divided_by_the_prior_only_where_classes_are_skewed():
    shares, prior = torch.tensor([[0.4, 0.6]]), torch.tensor([0.2, 0.8])
    skewed, fair = world(part([1] * 8 + [0] * 2)), world(part([1, 0]))
    assert GOAL.decided(shares, "shares", prior, skewed).argmax(1).tolist() == [0]
    assert GOAL.decided(shares.log(), "logits", prior, skewed).argmax(1).tolist() == [0]
    assert GOAL.decided(shares, "shares", prior, fair).argmax(1).tolist() == [1]
    assert GOAL.says(shares, "shares", prior, skewed).tolist() == [[False]]
    assert GOAL.says(shares.log(), "logits", prior, skewed).tolist() == [[False]]


def test_the_question_about_a_class_is_asked_on_as_many_rows_of_it_as_of_the_others():
    one = world(part([0, 0, 1, 2, 1, 2, 2]), classes=3)
    assert GOAL.questions(one) == (0, 1, 2)
    codes = GOAL.by_class(torch.ones(7, 3, dtype=torch.bool), one, one.targets)
    for column, value in enumerate((0, 1, 2)):
        graded = codes[:, column] != NOT_GRADED
        assert graded.sum() == 2 * (one.targets.labels["a"] == value).sum()
        # Whoever always says yes is right half of the time.
        assert codes[graded, column].double().mean() == 0.5


def test_the_floor_of_a_class_says_yes_where_the_prediction_makes_it_more_frequent():
    train = part([0, 0, 1, 2, 1, 2], [0, 0, 1, 1, 1, 1])
    one = world(train, classes=3)
    codes = GOAL.class_floor(one)
    assert codes[:, 0][codes[:, 0] != NOT_GRADED].tolist() == [1] * 4
    # Under prediction 1 both other classes are more frequent than usual.
    assert codes[2:, 1].tolist() == [1, NOT_GRADED, 1, NOT_GRADED]
    assert codes[:2, 1].tolist() == [1, 1]


def test_without_predictions_the_floor_of_a_class_is_half():
    one = world(part([0, 1, 2, 1, 2, 0]), classes=3)
    codes = GOAL.class_floor(one)
    for column in codes.T:
        assert column[column != NOT_GRADED].double().mean() == 0.5
