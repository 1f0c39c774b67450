"""Which shard a namespace is in, and how replicas come to hold equally many."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_operator.decide.shard_load import ShardLoad, load_from
from headrace_operator.decide.shard_spread import NOBODY, Give, Spread, Take
from headrace_operator.decide.sharding import EVERYTHING, Share, shard_of

NAMES = ["a", "b", "c", "d", "e"]


def test_a_namespace_stays_in_its_shard_whatever_the_version() -> None:
    """Two versions that differ here would both work on one namespace during an update."""
    assert [shard_of(name, 8) for name in ("default", "team-a", "team-b", "headrace-system")] == [5, 4, 2, 1]


def test_namespaces_are_spread_evenly() -> None:
    """A thousand over eight: none has half as many again as it should."""
    counts = Counter(shard_of(f"team-{number}", 8) for number in range(1000))
    assert set(counts) == set(range(8))
    assert max(counts.values()) < 1.5 * 125


@given(st.text(), st.integers(1, 64))
def test_every_namespace_is_served_by_one_shard(namespace: str, count: int) -> None:
    assert [Share(index, count).serves(namespace) for index in range(count)].count(True) == 1


def test_an_operator_without_shards_serves_all_and_keeps_the_cluster() -> None:
    assert EVERYTHING.serves("anything")
    assert EVERYTHING.keeps_cluster
    assert not Share(1, 2).keeps_cluster


@pytest.mark.parametrize(
    ("holders", "members", "step"),
    [
        pytest.param(["", "", "", ""], "a", Take(0), id="one alone takes all"),
        pytest.param(["a", "a", "a", "a"], "a", None, id="one alone rests when it has all"),
        pytest.param(["a", "a", "a", "a"], "ab", Give(3), id="one that holds too many gives"),
        pytest.param(["a", "a", "a", ""], "ab", Give(2), id="it goes on giving until it holds its part"),
        pytest.param(["a", "a", "", ""], "ab", None, id="what is left is for the other one"),
        pytest.param(["a", "a", "b", ""], "abc", None, id="one that may have one more leaves it to who has too few"),
        pytest.param(["a", "b", "c", ""], "abc", Take(3), id="a shard too many is taken by anybody"),
        pytest.param(["a", "a", "b", "c"], "abc", None, id="nobody gives while nobody has too few"),
        pytest.param(["a", "a", "a", "b", "b", "b", "c"], "abc", Give(2), id="of two with most the first gives"),
        pytest.param(["a", "a", "a", "b", "b", "c", ""], "abc", None, id="nobody gives what is free already"),
        pytest.param(["a", "b"], "abcd", None, id="more replicas than shards: some stand by"),
    ],
)
def test_the_next_step(holders: list[str], members: str, step: Take | Give | None) -> None:
    assert Spread("a", holders, list(members)).step() == step


@given(
    st.integers(1, 16),
    st.lists(st.tuples(st.sampled_from(["joins", "dies"]), st.sampled_from(NAMES)), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_it_comes_to_rest_evenly_and_with_no_needless_move(
    count: int, changes: list[tuple[str, str]], dice: object
) -> None:
    """Whoever comes and goes, and in whatever order they act. What moves, beside what was nobody's, is what the newcomers get."""
    holders, members = [NOBODY] * count, {"a"}
    for change, name in changes:
        members = members | {name} if change == "joins" else (members - {name}) or members
        holders = [holder if holder in members else NOBODY for holder in holders]
        before = Counter(holders)
        given = 0
        for _ in range(20 * count):
            steps = [(me, step) for me in sorted(members) if (step := Spread(me, holders, members).step())]
            if not steps:
                break
            me, step = dice.choice(steps)  # type: ignore[attr-defined]
            given += isinstance(step, Give)
            assert holders[step.shard] == (NOBODY if isinstance(step, Take) else me)
            holders[step.shard] = me if isinstance(step, Take) else NOBODY
        after = Counter(holders)
        assert after[NOBODY] == 0
        assert max(after[name] for name in members) - min(after[name] for name in members) <= 1
        least = count // len(members)
        assert given <= sum(max(0, before[name] - least) for name in members)


@pytest.mark.parametrize(
    ("holders", "loads", "calm", "step"),
    [
        pytest.param("aabb", [9, 9, 9, 9], True, None, id="even"),
        pytest.param("aabb", [90, 40, 9, 9], True, Give(1), id="the one that makes them most alike"),
        pytest.param("bbaa", [90, 40, 9, 9], True, None, id="who has least gives nothing"),
        pytest.param("aabb", [90, 9, 9, 9], True, Give(1), id="small ones make room for one that is heavy"),
        pytest.param("abbb", [90, 9, 9, 9], True, None, id="a shard that is most of it stays where it is"),
        pytest.param("aaabb", [20, 20, 10, 20, 14], True, Give(2), id="somewhat uneven"),
        pytest.param("aaabb", [20, 20, 10, 20, 14], False, None, id="not so soon after another move"),
        pytest.param("aaaaa", [20, 20, 10, 20, 14], False, None, id="one alone keeps all"),
        pytest.param("aab", [20, 30, 50], False, None, id="even, though not in number"),
        pytest.param("aabb", [9, 4, 0, 0], True, None, id="so little that their number counts"),
        pytest.param("aab", [2, 0, 4], True, None, id="no more than even in number"),
        pytest.param("a..b", [20, 30, 40, 50], True, Take(2), id="who has least takes, the heaviest first"),
        pytest.param("b..a", [20, 30, 40, 50], True, None, id="what is free is for who has less"),
    ],
)
def test_the_next_step_where_shards_are_not_alike(holders: str, loads: list[int], calm: bool, step: object) -> None:
    holding = [NOBODY if holder == "." else holder for holder in holders]
    assert Spread("a", holding, sorted({"a", *holders} - {"."}), loads, is_calm=calm).step() == step


def test_a_replica_that_joins_gets_its_part_at_once() -> None:
    """It need not wait until no shard was moved for a while."""
    assert isinstance(Spread("a", ["a"] * 8, ["a", "b"], [10] * 7 + [5], is_calm=False).step(), Give)


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=16),
    st.lists(st.sampled_from(["", *NAMES]), min_size=16, max_size=16),
    st.randoms(use_true_random=False),
)
def test_it_comes_to_rest_whatever_the_loads(loads: list[int], began: list[str], dice: object) -> None:
    """In whatever order they act: each shard is held, and no replica has so much more to do that a move would be worth it."""
    holders = began[: len(loads)]
    gives = 0
    for _ in range(40 * len(loads)):
        steps = [(me, step) for me in NAMES if (step := Spread(me, holders, NAMES, loads).step())]
        if not steps:
            break
        me, step = dice.choice(steps)  # type: ignore[attr-defined]
        gives += isinstance(step, Give)
        holders[step.shard] = me if isinstance(step, Take) else NOBODY
    else:
        pytest.fail(f"they move for ever: {loads}")
    assert NOBODY not in holders
    assert gives <= 3 * len(loads)


def test_a_load_is_told_when_it_is_clearly_another() -> None:
    """From nothing to a steady pace: a few words on the way, then none."""
    load, told = ShardLoad(), []
    for _ in range(120):
        load = load.after(500, 5.0)
        told.append(load.told)
    assert 60 < load.told <= 100
    assert len(set(told)) < 10
    assert len(set(told[60:])) == 1


def test_a_small_load_is_told_in_tenths() -> None:
    """Of sixteen shards with four a second each, one that is told as three or five is as good as moved."""
    load = ShardLoad()
    for _ in range(120):
        load = load.after(19, 5.0)
    assert 3.8 / 1.2 <= load.told <= 3.8
    assert load.told != round(load.told)


def test_a_shard_that_falls_idle_tells_nothing_in_the_end() -> None:
    load = load_from(100)
    for _ in range(200):
        load = load.after(0, 5.0)
    assert load.told == 0


def test_a_load_that_wavers_is_told_once() -> None:
    """What is written anew with each breath costs more than it is worth."""
    load = load_from(100)
    for number in range(100):
        load = load.after(700 if number % 2 else 350, 5.0)
        assert load.told == 100


def test_a_burst_tells_little() -> None:
    """Five seconds at a hundred times the pace."""
    assert load_from(10).after(5000, 5.0).told < 100
