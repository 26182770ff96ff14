"""Evidence from real, small model folders and rows in memory."""

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest

from promote.evidence.gathering import gather
from promote.evidence.record import record
from promote.evidence.scoring import Contender
from promote.gate.evidence import Evidence, Faulty
from promote.gate.judge import judge
from retrain.contract import Feature, ModelCard, Snapshot, Split, digest_of_bytes
from retrain.spec.model_file import GatePolicy, SliceRule
from tests.grounds.model_folders import FEATURES, make_model_folder

POLICY = GatePolicy(slices=SliceRule(by=("carrier",), min_rows=20))
START = date(2013, 7, 1)


def a_snapshot(seed: int = 0, *, key: str = "flight_key", has_fixed_test: bool = False) -> Snapshot:
    def split(first: int, last: int) -> Split:
        days = [START + timedelta(days=number) for number in range(first, last)]
        start, end = (
            datetime(day.year, day.month, day.day, tzinfo=UTC)
            for day in (days[0], days[-1] + timedelta(days=1))
        )
        return Split(groups=tuple(map(str, days)), start=start, end=end, rows=50 * len(days))

    return Snapshot(
        query_digest=digest_of_bytes(f"query {seed}".encode()),
        key=key,
        event_time="scheduled_departure",
        label="delayed",
        groups="departure_date",
        train=split(0, 20),
        validation=split(20, 24),
        test=split(24, 31),
        partitions=(),
        fixed_test=split(-60, -50) if has_fixed_test else None,
    )


def rows_of(days: range) -> pa.Table:
    """Fifty rows a day, the same for a day whoever asks."""
    tables = []
    for day in days:
        random = np.random.default_rng(day)
        tables.append(
            pa.table(
                {
                    "flight_key": [f"{day}-{number}" for number in range(50)],
                    "departure_date": pa.array([START + timedelta(days=day)] * 50),
                    "delayed": random.random(50) < 0.3,
                    "carrier": random.choice(["AA", "B6", "UA", "never seen"], 50).tolist(),
                    "distance": random.uniform(0, 3000, 50),
                    "hour": random.integers(0, 23, 50),
                    "weekend": pa.array([day % 7 > 4] * 50),
                    "wind_speed": pa.array(
                        [None if draw < 0.2 else draw * 40 for draw in random.random(50)]
                    ),
                }
            )
        )
    return pa.concat_tables(tables)


class Rows:
    """Stands for the snapshot store: every snapshot has the same splits unless told otherwise."""

    def __init__(self, **splits: range) -> None:
        self.splits = {
            "train": range(20),
            "validation": range(20, 24),
            "test": range(24, 31),
            "fixed_test": range(40, 50),
        } | splits
        self.without: tuple[str, ...] = ()

    def __call__(self, snapshot, split, columns):
        table = rows_of(self.splits[split]).drop_columns(list(self.without))
        return table.select(columns) if columns else table


@pytest.fixture
def make(tmp_path):
    def make(
        version: int,
        *,
        seed: int,
        recipe: str = "recipe",
        features: tuple[Feature, ...] = FEATURES,
        snapshot: Snapshot | None = None,
    ) -> Contender:
        folder, snapshot = tmp_path / f"v{version}", snapshot or a_snapshot(seed)
        card = make_model_folder(folder, seed=seed, features=features)
        card = card.model_copy(
            update={
                "snapshot_id": snapshot.snapshot_id,
                "recipe_digest": digest_of_bytes(recipe.encode()),
            }
        )
        (folder / "model.json").write_bytes(card.to_bytes())
        return Contender(
            version=version, folder=folder, model_digest=card.model_digest, snapshot=snapshot
        )

    return make


def ask(challenger, champion, rows=None, *, had_release=True):
    return gather(
        "flight-delay", challenger, champion, POLICY, had_release=had_release, read=rows or Rows()
    )


def test_two_sound_models_are_scored_on_the_same_rows(make):
    evidence = ask(make(8, seed=1), make(7, seed=0))
    assert isinstance(evidence, Evidence)
    rows = evidence.rows
    assert len(rows.labels) == len(rows.champion) == len(rows.challenger) == 350
    assert not np.array_equal(rows.champion, rows.challenger)
    assert rows.groups_are == "days"


def test_a_score_is_what_onnxruntime_answers_for_the_single_row(make):
    challenger = make(8, seed=1)
    evidence = ask(challenger, make(7, seed=0))
    row = rows_of(range(24, 31)).slice(5, 1).to_pylist()[0]
    inputs = {
        f.name: np.array([[row[f.name] or ""]], dtype=object)
        for f in FEATURES
        if f.type == "category"
    }
    inputs |= {
        f.name: np.array([[np.nan if row[f.name] is None else row[f.name]]], np.float32)
        for f in FEATURES
        if f.type != "category"
    }
    session = onnxruntime.InferenceSession(
        (challenger.folder / "model.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    assert evidence.rows.challenger[5] == pytest.approx(
        session.run(["probabilities"], inputs)[0][0, 1], abs=1e-7
    )


def test_the_kind_follows_recipe_and_history(make):
    champion = make(7, seed=0)
    assert ask(make(8, seed=1), champion).subject.kind == "refresh"
    assert ask(make(9, seed=1, recipe="another"), champion).subject.kind == "change"
    assert ask(make(10, seed=1), None, had_release=False).subject.kind == "first"


def test_a_first_model_meets_the_rate_of_training_and_validation(make):
    evidence = ask(make(1, seed=1), None, had_release=False)
    rate = np.mean(rows_of(range(24)).column("delayed").to_pylist())
    assert evidence.rows.champion == pytest.approx(np.full(350, rate))
    assert evidence.subject.champion is None


def test_a_model_that_main_named_before_and_names_no_more_is_no_first(make):
    evidence = ask(make(8, seed=1), None, had_release=True)
    assert judge(evidence, POLICY).outcome == "inconclusive"
    assert "Restore that release" in evidence.faults[0]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_test_rows_that_a_model_learnt_from_are_counted_by_key(make, split):
    evidence = ask(make(8, seed=1), make(7, seed=0), Rows(**{split: range(15, 26)}))
    verdict = judge(evidence, POLICY)
    assert verdict.outcome == "inconclusive"
    assert "100 of 350 test rows were used to train" in verdict.reasons[0].sentence


def test_rows_that_only_the_champion_learnt_from_are_counted_too(make):
    champion = make(7, seed=0)

    def read(snapshot, split, columns):
        return (Rows(train=range(24, 25)) if snapshot == champion.snapshot else Rows())(
            snapshot, split, columns
        )

    assert "50 of 350 test rows" in ask(make(8, seed=1), champion, read).faults[0]


def test_a_champion_keyed_by_another_column_proves_nothing(make):
    evidence = ask(make(8, seed=1), make(7, seed=0, snapshot=a_snapshot(0, key="hour")))
    assert (
        "the rows of v7 have the key hour, the test rows have the key flight_key"
        in evidence.faults[0]
    )


@pytest.mark.parametrize("who", ["challenger", "champion"])
@pytest.mark.parametrize("file", ["model.onnx", "model.json"])
def test_an_altered_file_is_named_and_never_promoted(make, who, file):
    contenders = {"challenger": make(8, seed=1), "champion": make(7, seed=0)}
    path = contenders[who].folder / file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    evidence = ask(contenders["challenger"], contenders["champion"])
    assert who in evidence.faults[0]
    assert file in evidence.faults[0]
    assert "expected was" in evidence.faults[0]
    assert judge(evidence, POLICY).outcome == "inconclusive"


def test_another_sound_network_in_its_place_is_not_scored(make):
    challenger, other = make(8, seed=1), make(9, seed=2)
    shutil.copy(other.folder / "model.onnx", challenger.folder / "model.onnx")
    evidence = ask(challenger, make(7, seed=0))
    assert "model.onnx is sha256:" in evidence.faults[0]
    assert isinstance(evidence, Faulty)


def test_a_missing_file_and_a_pickle_beside_are_told_apart(make):
    challenger, champion = make(8, seed=1), make(7, seed=0)
    (challenger.folder / "model.pkl").write_bytes(b"never opened")
    assert isinstance(ask(challenger, champion), Evidence)
    (challenger.folder / "model.onnx").unlink()
    assert "model.onnx should be a file" in ask(challenger, champion).faults[0]


def test_bytes_that_are_no_network_are_a_fault_although_their_digest_is_right(make):
    challenger = make(8, seed=1)
    (challenger.folder / "model.onnx").write_bytes(b"no network")
    card = ModelCard.model_validate_json((challenger.folder / "model.json").read_bytes())
    card = card.model_copy(update={"files": {"model.onnx": digest_of_bytes(b"no network")}})
    (challenger.folder / "model.json").write_bytes(card.to_bytes())
    evidence = ask(replace(challenger, model_digest=card.model_digest), make(7, seed=0))
    assert "cannot score the test rows" in evidence.faults[0]
    assert [reason.rule for reason in judge(evidence, POLICY).reasons] == ["evidence"]


@pytest.mark.parametrize("name", ["../model.onnx", "a/b", "..", ""])
def test_a_card_may_not_name_files_elsewhere(make, name):
    challenger = make(8, seed=1)
    card = ModelCard.model_validate_json((challenger.folder / "model.json").read_bytes())
    card = card.model_copy(update={"files": {**card.files, name: digest_of_bytes(b"")}})
    (challenger.folder / "model.json").write_bytes(card.to_bytes())
    assert (
        "has no folder in it"
        in ask(replace(challenger, model_digest=card.model_digest), make(7, seed=0)).faults[0]
    )


def test_a_card_of_another_snapshot_is_a_fault(make):
    challenger = replace(make(8, seed=1), snapshot=a_snapshot(5))
    assert "was trained on snapshot" in ask(challenger, make(7, seed=0)).faults[0]


def test_a_column_that_the_champion_needs_and_the_snapshot_lacks_is_named(make):
    rows = Rows()
    rows.without = ("wind_speed",)
    evidence = ask(make(8, seed=1, features=FEATURES[:-1], recipe="another"), make(7, seed=0), rows)
    assert evidence.faults == ("the champion needs columns that the snapshot lacks: wind_speed",)
    assert judge(evidence, POLICY).outcome == "inconclusive"


def test_a_challenger_that_needs_more_than_callers_send_is_refused(make):
    snow = Feature(name="snow", type="number")

    def read(snapshot, split, columns):
        table = Rows()(snapshot, split, None)
        table = table.append_column("snow", pa.array([0.0] * table.num_rows))
        return table.select(columns) if columns else table

    evidence = ask(
        make(8, seed=1, features=(*FEATURES, snow), recipe="another"), make(7, seed=0), read
    )
    assert "feature snow is new and required" in evidence.schema_problems[0]
    assert judge(evidence, POLICY).outcome == "keep"


def test_a_null_label_is_never_promoted(make):
    def read(snapshot, split, columns):
        table = Rows()(snapshot, split, None)
        labels = pa.array([None, *table.column("delayed").to_pylist()[1:]])
        table = table.set_column(table.column_names.index("delayed"), "delayed", labels)
        return table.select(columns) if columns else table

    assert judge(ask(make(8, seed=1), make(7, seed=0), read), POLICY).outcome == "inconclusive"


def with_column(name, values):
    """Return rows whose column `name` holds `values`, again and again, in every split."""

    def read(snapshot, split, columns):
        table = Rows()(snapshot, split, None)
        cells = pa.array([values[row % len(values)] for row in range(table.num_rows)])
        others = table.select([other for other in table.column_names if other != name])
        table = others.append_column(name, cells)
        return table.select(columns) if columns else table

    return read


LISTS, TEXTS, STRUCTS = [["secret"], ["secret"]], ["secret", "b"], [{"day": "secret"}]


@pytest.mark.parametrize("only_test_rows", [True, False])
@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("flight_key", LISTS, "`flight_key`, the key,"),
        ("flight_key", [b"\xff", b"secret\xfe"], "`flight_key`, the key,"),
        ("departure_date", LISTS, "`departure_date`, the group,"),
        ("departure_date", STRUCTS, "`departure_date`, the group,"),
        ("delayed", LISTS, "`delayed`, the label,"),
        ("delayed", TEXTS, "`delayed`, the label,"),
        ("distance", TEXTS, "`distance`"),
        ("distance", LISTS, "`distance`"),
        ("carrier", LISTS, "`carrier`"),
        ("airlines", LISTS, "the values of airlines cannot be judged: found values"),
    ],
)
def test_a_column_that_cannot_be_read_becomes_a_fault_that_names_it_and_repeats_no_value(
    make, column, values, says, only_test_rows
):
    policy = GatePolicy(
        slices=SliceRule(by=("airlines",) if column == "airlines" else (), min_rows=20)
    )
    odd = with_column(column, values)

    def read(snapshot, split, columns):
        return (Rows() if only_test_rows and split != "test" else odd)(snapshot, split, columns)

    for champion in (make(7, seed=0), None):
        evidence = gather(
            "flight-delay",
            make(8, seed=1),
            champion,
            policy,
            had_release=champion is not None,
            read=read,
        )
        verdict = judge(evidence, policy)
        assert verdict.outcome == "inconclusive"
        assert says in verdict.reasons[0].sentence
        assert "secret" not in verdict.reasons[0].sentence
        assert record(evidence, verdict)


def test_keys_of_training_that_cannot_be_read_are_a_fault(make):
    odd = with_column("flight_key", LISTS)

    def read(snapshot, split, columns):
        return (odd if split == "train" else Rows())(snapshot, split, columns)

    assert "`flight_key`, the key," in ask(make(8, seed=1), make(7, seed=0), read).faults[0]


def test_an_outage_of_the_store_goes_through(make):
    def read(snapshot, split, columns):
        raise ConnectionError("the store did not answer")

    with pytest.raises(ConnectionError):
        ask(make(8, seed=1), make(7, seed=0), read)


def test_the_record_holds_verdict_figures_words_and_picture_even_of_a_fault(make):
    challenger, champion = make(8, seed=1), make(7, seed=0)
    for fault in (False, True):
        if fault:
            shutil.rmtree(challenger.folder)
        evidence = ask(challenger, champion)
        files = record(evidence, judge(evidence, POLICY))
        assert set(files) == {"verdict.json", "evidence.json", "explanation.md", "intervals.png"}
        assert files["intervals.png"].startswith(b"\x89PNG")


def test_both_models_are_scored_on_the_fixed_test(make):
    fixed = a_snapshot(has_fixed_test=True)
    evidence = ask(make(8, seed=1, snapshot=fixed), make(7, seed=0))
    assert len(evidence.rows.labels) == 350
    assert len(evidence.fixed_test.rows.labels) == 500
    assert evidence.fixed_test.known_to_champion == 0
    assert ask(make(9, seed=1), make(6, seed=0)).fixed_test is None


def test_fixed_test_rows_that_the_challenger_learnt_from_are_a_fault(make):
    fixed = a_snapshot(has_fixed_test=True)
    rows = Rows(fixed_test=range(18, 28))
    evidence = ask(make(8, seed=1, snapshot=fixed), make(7, seed=0), rows)
    assert evidence.faults == (
        "in the fixed test, 300 of 500 test rows were used to train or select a model,"
        " so no figure on these rows is fair.",
    )


def test_fixed_test_rows_that_only_the_champion_learnt_from_are_counted(make):
    fixed = a_snapshot(has_fixed_test=True)

    class Older(Rows):
        def __call__(self, snapshot, split, columns):
            known = Rows(train=range(38, 44)) if snapshot.fixed_test is None else super()
            return known.__call__(snapshot, split, columns)

    evidence = ask(make(8, seed=1, snapshot=fixed), make(7, seed=0), Older())
    assert evidence.fixed_test.known_to_champion == 200
