import json

import pytest

from dgafvsr.errors import InputError, OutputError
from dgafvsr.evaluation import scoring, workers
from dgafvsr.evaluation.cache import ScoreCache, hash_file
from dgafvsr.evaluation.clips import plan_clips
from dgafvsr.evaluation.probes import FrameChoice
from dgafvsr.evaluation.protocols import Protocol, get_protocol
from dgafvsr.evaluation.runner import EvaluationSettings, evaluate_folders
from dgafvsr.evaluation.scoring import InstrumentSettings
from tests.evaluation.pictures import noisy, smooth_clip, write_clip

STANDARD = InstrumentSettings(protocol=get_protocol("standard"))


@pytest.fixture
def clips(tmp_path):
    """Two clips of 2 and 3 frames by two methods."""
    for seed, (name, t) in enumerate((("city", 2), ("walk", 3))):
        truth = smooth_clip(t=t, seed=seed)
        write_clip(tmp_path / "gt" / name, truth)
        write_clip(tmp_path / "a" / name, noisy(truth, 0.02))
        write_clip(tmp_path / "b" / name, noisy(truth, 0.2))
    return tmp_path


def plan_of(root, **choice):
    return plan_clips({"a": root / "a", "b": root / "b"}, root / "gt", choice=FrameChoice(**choice))[0]


def computed(monkeypatch):
    """The pictures that are really scored from now on, as (clip, method, frame)."""
    seen = []
    original = scoring.ClipScorer.__call__

    def remembering(self, plan, frames=None):
        for value in original(self, plan, frames):
            seen.append((plan.name, value.method, value.frame))
            yield value

    monkeypatch.setattr(scoring.ClipScorer, "__call__", remembering)
    return seen


def test_scores_come_back_as_they_were(clips, tmp_path):
    cache, plan = ScoreCache(tmp_path / "c", STANDARD), plan_of(clips)
    assert cache.find(plan, "a", "psnr") is None
    cache.keep(plan, "a", "psnr", (float("inf"), None))
    assert ScoreCache(tmp_path / "c", STANDARD).find(plan, "a", "psnr") == (float("inf"), None)
    assert cache.find(plan, "b", "psnr") is None
    assert cache.find(plan, "a", "ssim") is None


def test_other_pictures_protocols_and_frames_have_other_scores(clips, tmp_path):
    cache = ScoreCache(tmp_path / "c", STANDARD)
    cache.keep(plan_of(clips), "a", "psnr", (1.0, 2.0))
    cropped = InstrumentSettings(protocol=Protocol(name="standard", crop_border=1))
    assert ScoreCache(tmp_path / "c", cropped).find(plan_of(clips), "a", "psnr") is None
    renamed = InstrumentSettings(protocol=Protocol(name="another name"))
    assert ScoreCache(tmp_path / "c", renamed).find(plan_of(clips), "a", "psnr") == (1.0, 2.0)
    assert cache.find(plan_of(clips, max_frames=1), "a", "psnr") is None
    for side in ("a", "gt"):
        picture = clips / side / "city" / "00000001.png"
        before = picture.read_bytes()
        picture.write_bytes((clips / "b" / "city" / "00000001.png").read_bytes())
        assert ScoreCache(tmp_path / "c", STANDARD).find(plan_of(clips), "a", "psnr") is None
        picture.write_bytes(before)
    assert ScoreCache(tmp_path / "c", STANDARD).find(plan_of(clips), "a", "psnr") == (1.0, 2.0)


def test_scores_depend_on_what_their_metric_looks_at_only(clips, tmp_path):
    """What another flow, luma for other metrics or RAFT's mode leave as it is is not computed again."""
    dis, raft = get_protocol("standard").with_flow("dis"), get_protocol("standard")
    authors, luma = get_protocol("paper-reds4"), get_protocol("paper-vid4")
    same = {"psnr": (dis, raft, authors), "tlpips": (dis, raft, authors, luma), "tof": (authors, luma)}
    other = {"psnr": (raft, luma), "tof": (raft, dis), "warping": (raft, authors)}
    for metric, protocols in [*same.items(), *other.items()]:
        plan, folder = plan_of(clips), tmp_path / "-".join([metric, *(protocol.name for protocol in protocols)])
        first, *rest = (ScoreCache(folder, InstrumentSettings(protocol=protocol)) for protocol in protocols)
        first.keep(plan, "a", metric, (None, 2.0))
        expected = (None, 2.0) if protocols == same.get(metric) else None
        assert [cache.find(plan, "a", metric) for cache in rest] == [expected] * len(rest), metric


def test_mode_of_raft_means_nothing_to_dis(clips, tmp_path):
    dis = (get_protocol(name).with_flow("dis") for name in ("standard", "paper-reds4"))
    one, two = (ScoreCache(tmp_path / "c", InstrumentSettings(protocol=protocol)) for protocol in dis)
    one.keep(plan_of(clips), "a", "tof", (None, 2.0))
    assert two.find(plan_of(clips), "a", "tof") == (None, 2.0)


def test_scores_without_reference_do_not_depend_on_the_truth(clips, tmp_path):
    ScoreCache(tmp_path / "c", STANDARD).keep(plan_of(clips), "a", "niqe", (3.0, 4.0))
    (clips / "gt" / "city" / "00000001.png").write_bytes((clips / "b" / "city" / "00000001.png").read_bytes())
    assert ScoreCache(tmp_path / "c", STANDARD).find(plan_of(clips), "a", "niqe") == (3.0, 4.0)


def test_damaged_files_are_computed_again(clips, tmp_path):
    cache, plan = ScoreCache(tmp_path / "c", STANDARD), plan_of(clips)
    cache.keep(plan, "a", "psnr", (1.0, 2.0))
    (file,) = (tmp_path / "c").rglob("*.json")
    for damage in ("", "{}", json.dumps({"values": [1.0]}), json.dumps({"values": ["x", "y"]})):
        file.write_text(damage)
        assert cache.find(plan, "a", "psnr") is None


def test_interrupted_run_goes_on_after_the_last_complete_clip(clips, tmp_path, monkeypatch):
    settings = EvaluationSettings(metrics=("psnr",), cache=tmp_path / "c")
    methods = {"a": clips / "a", "b": clips / "b"}

    def interrupt(progress):
        if progress.done == 6:  # within the second clip
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_folders(methods, clips / "gt", settings, on_progress=interrupt)
    seen, steps = computed(monkeypatch), []
    result = evaluate_folders(methods, clips / "gt", settings, on_progress=steps.append)
    assert {clip for clip, _, _ in seen} == {"walk"}
    assert [step.done for step in steps] == [5, 6, 7, 8, 9, 10]
    assert {step.total for step in steps} == {10}
    fresh = evaluate_folders(methods, clips / "gt", EvaluationSettings(metrics=("psnr",)))
    assert result.methods == fresh.methods


def test_only_what_is_new_is_computed(clips, tmp_path, monkeypatch):
    settings = EvaluationSettings(metrics=("psnr",), cache=tmp_path / "c")
    evaluate_folders({"a": clips / "a"}, clips / "gt", settings)
    seen = computed(monkeypatch)
    both = evaluate_folders({"b": clips / "b", "renamed": clips / "a"}, clips / "gt", settings)
    assert {method for _, method, _ in seen} == {"b"}
    assert [method.name for method in both.methods] == ["b", "renamed"]
    seen.clear()
    evaluate_folders({"b": clips / "b"}, clips / "gt", settings)
    assert seen == []


def test_folder_that_cannot_be_made_is_found_before_computing(clips, tmp_path, monkeypatch):
    seen = computed(monkeypatch)
    (tmp_path / "file").touch()
    settings = EvaluationSettings(metrics=("psnr",), cache=tmp_path / "file" / "c")
    with pytest.raises(OutputError, match="--no-cache"):
        evaluate_folders({"a": clips / "a"}, clips / "gt", settings)
    assert seen == []
    with pytest.raises(InputError, match="absent"):
        hash_file(tmp_path / "absent")


def test_segments_cover_a_clip_once_and_give_the_whole_clips_scores(clips, monkeypatch):
    settings = EvaluationSettings(metrics=("psnr", "warping"), protocol=get_protocol("standard").with_flow("dis"))
    whole = evaluate_folders({"a": clips / "a"}, clips / "gt", settings)
    monkeypatch.setattr(workers, "SEGMENT", 2)
    plan = plan_of(clips)
    assert [segment.frames for segment in workers.segments_of(plan, ("psnr",))] == [range(2)]
    parts = evaluate_folders({"a": clips / "a"}, clips / "gt", settings)
    assert parts.methods == whole.methods


@pytest.mark.slow  # spawns processes, each of which imports torch
def test_results_do_not_depend_on_the_number_of_processes(clips, monkeypatch):
    monkeypatch.setattr(workers, "SEGMENT", 2)
    one, two = (
        evaluate_folders(
            {"a": clips / "a", "b": clips / "b"},
            clips / "gt",
            EvaluationSettings(
                metrics=("psnr", "ssim", "tof"), protocol=get_protocol("standard").with_flow("dis"), jobs=jobs
            ),
        )
        for jobs in (1, 2)
    )
    assert one == two
