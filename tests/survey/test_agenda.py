"""A spectrum that kills its workers costs the others nothing."""

import pytest

from bayesden.survey.agenda import Agenda
from bayesden.survey.plan import Chunk, Item


def chunk_of(number: int, size: int) -> Chunk:
    return Chunk(f"chunk-{number}", tuple(Item(f"{number}-{i}", f"{number}-{i}") for i in range(size)))


def work(agenda: Agenda, deadly: set[str], chance_deaths: int = 0) -> tuple[list[str], list[str], int]:
    """Spectra that were done, those that were given up, and how many workers died."""
    done, lost, deaths = [], [], 0
    while agenda:
        chunk = agenda.take()
        by_chance = chance_deaths > 0
        chance_deaths -= by_chance
        if by_chance or any(item.input in deadly for item in chunk.items):
            deaths += 1
            if (item := agenda.died(chunk)) is not None:
                lost.append(item.input)
        else:
            done += [item.input for item in chunk.items]
    return done, lost, deaths


@pytest.mark.parametrize("deadly", [set(), {"1-5"}, {"0-0", "0-1", "1-7"}])
def test_deadly_spectra_are_found_and_the_others_done_once(deadly):
    chunks = [chunk_of(0, 8), chunk_of(1, 8), chunk_of(2, 1)]
    done, lost, deaths = work(Agenda(chunks), deadly)
    every = {item.input for chunk in chunks for item in chunk.items}
    assert sorted(done) == sorted(every - deadly) and set(lost) == deadly and len(lost) == len(deadly)
    assert deaths <= 9 * len(deadly)  # two for each halving of eight, three for the last one


def test_a_few_deaths_by_chance_blame_nobody():
    done, lost, _ = work(Agenda([chunk_of(0, 4)]), set(), chance_deaths=5)
    assert sorted(done) == ["0-0", "0-1", "0-2", "0-3"] and lost == []


def test_chunks_are_asked_for_when_their_turn_comes():
    asked = []
    agenda = Agenda(asked.append(i) or chunk_of(i, 1) for i in range(5))
    assert asked == [] and agenda and agenda and asked == [0]
    assert agenda.take().name == "chunk-0" and asked == [0]
