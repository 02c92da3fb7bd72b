"""What a query costs is what more of them cost: letting their clients in is in both, and falls out."""

import pytest

from tests.bench.workloads.pgbench import Cost


@pytest.mark.parametrize("login", [0.0, 0.004])
def test_logins_are_taken_off(login: float) -> None:
    clients, of_a_query = 8, 25e-6
    few = Cost(clients * (login + of_a_query), clients)
    many = Cost(clients * login + 10_000 * of_a_query, 10_000)
    assert many.each_beyond(few) == pytest.approx(of_a_query)


@pytest.mark.parametrize(("more", "less"), [(Cost(0.1, 8), Cost(0.05, 8)), (Cost(0.05, 900), Cost(0.06, 8))])
def test_what_cannot_be_told_is_no_figure(more: Cost, less: Cost) -> None:
    with pytest.raises(ValueError, match="no cost of a query"):
        more.each_beyond(less)
