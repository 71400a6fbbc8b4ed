from fractions import Fraction
from itertools import pairwise

import av
import pytest

from dgafvsr.video.codecs import EncoderSettings
from dgafvsr.video.copy_times import RisingTimes
from dgafvsr.video.encoding import plan_encoding
from dgafvsr.video.reader import open_source
from dgafvsr.video.stream_plan import foreseen_losses
from dgafvsr.video.writer import open_sink
from tests.video.films import MILLISECOND, add_streams, pictures, sound_of, write_film

TEXTS = [(0, 100, "Guten Tag"), (120, 200, "Zeile 1\nZeile 2"), (400, 80, "Ende")]
CHAPTERS = [(0, 200, "eins"), (200, 500, "zwei")]
FONT = ("Schrift.ttf", "font/ttf", bytes(range(256)) * 3)


def copy(source, target, **settings):
    with open_source(source) as reader, open_sink(target, reader.info, EncoderSettings(**settings)) as sink:
        for frame in reader:
            sink.write(frame)
    return sink


def rich(tmp_path, **options):
    film = write_film(tmp_path / "plain.mkv", pictures(12), sound_seconds=0.5)
    return add_streams(film, tmp_path / "rich.mkv", **options)


def texts_of(path):
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, packet.duration * packet.time_base, bytes(packet).decode())
            for packet in container.demux(subtitles=0)
            if packet.size
        ]


def chapters_of(path):
    with av.open(str(path)) as container:
        return [
            (each["start"] * each["time_base"], each["end"] * each["time_base"], each["metadata"]["title"])
            for each in container.chapters()
        ]


def in_seconds(rows):
    return [(start * MILLISECOND, second * MILLISECOND, text) for start, second, text in rows]


def test_matroska_keeps_everything(tmp_path):
    film = rich(tmp_path, subtitles=TEXTS, chapters=CHAPTERS, attachment=FONT, notes={"title": "Ein Film"})
    sink = copy(film, tmp_path / "b.mkv")
    assert sink.warnings == ()
    assert texts_of(tmp_path / "b.mkv") == texts_of(film) == in_seconds(TEXTS)
    assert chapters_of(tmp_path / "b.mkv") == in_seconds(CHAPTERS)
    assert sound_of(tmp_path / "b.mkv") == sound_of(film)
    with av.open(str(tmp_path / "b.mkv")) as container:
        font = next(each for each in container.streams if each.type == "attachment")
        assert (font.metadata["filename"], font.mimetype, font.data) == FONT
        assert container.metadata["title"] == "Ein Film"
        assert container.streams.subtitles[0].metadata["title"] == "für alle"
        assert container.streams.subtitles[0].language == "deu"


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_chapters_and_titles_fit_mp4_and_fonts_are_named(tmp_path, suffix):
    film = rich(tmp_path, chapters=CHAPTERS, attachment=FONT, notes={"title": "Ein Film"})
    sink = copy(film, tmp_path / f"b{suffix}")
    assert chapters_of(tmp_path / f"b{suffix}") == in_seconds(CHAPTERS)
    assert [each for each in sink.warnings if "moved" not in each] == [
        f"attachment stream 2 (Schrift.ttf) is left out: {suffix[1:]} holds no attachments"
    ]
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        assert container.metadata["title"] == "Ein Film"


def test_webm_names_what_it_cannot_hold(tmp_path):
    film = rich(tmp_path, chapters=CHAPTERS, attachment=FONT)
    sink = copy(film, tmp_path / "b.webm", options={"preset": "12"})
    assert chapters_of(tmp_path / "b.webm") == in_seconds(CHAPTERS)
    assert sink.warnings == (
        "audio stream 1 (aac) is left out: webm does not hold aac",
        "attachment stream 2 (Schrift.ttf) is left out: webm holds no attachments",
    )


def test_two_sound_tracks_keep_their_languages_and_marks(tmp_path):
    film = write_film(tmp_path / "one.mkv", pictures(12), sound_seconds=0.5, sound_codec="libopus")
    with av.open(str(film)) as source, av.open(str(tmp_path / "two.mkv"), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0], opaque=True)
        tracks = [target.add_stream_from_template(source.streams.audio[0]) for _ in range(2)]
        for track, language, mark in zip(tracks, ("eng", "fra"), ("default", "forced"), strict=True):
            track.metadata["language"] = language
            track.disposition = av.stream.Disposition[mark]
        for packet in source.demux():
            if packet.size and packet.stream.type == "video":
                packet.stream = video
                target.mux(packet)
            elif packet.size:
                for track in tracks:
                    again = av.Packet(bytes(packet))
                    again.pts, again.dts, again.duration = packet.pts, packet.dts, packet.duration
                    again.time_base, again.stream = packet.time_base, track
                    target.mux(again)
    copy(tmp_path / "two.mkv", tmp_path / "b.mkv")
    assert sound_of(tmp_path / "b.mkv") == sound_of(tmp_path / "two.mkv")
    assert len(sound_of(tmp_path / "b.mkv")) == 2
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert [each.language for each in container.streams.audio] == ["eng", "fra"]
        assert [each.disposition.name for each in container.streams.audio] == ["default", "forced"]


def test_sound_longer_than_the_pictures_is_copied_whole(tmp_path):
    film = write_film(tmp_path / "a.mkv", pictures(3), sound_seconds=2, sound_codec="libopus")
    copy(film, tmp_path / "b.mkv")
    assert sound_of(tmp_path / "b.mkv") == sound_of(film)


def test_chapters_move_with_a_film_that_starts_before_zero(tmp_path):
    film = rich(tmp_path, chapters=CHAPTERS)
    with open_source(film) as reader, open_sink(tmp_path / "b.mkv", reader.info) as sink:
        for frame in reader:
            sink.write(type(frame)(**vars(frame) | {"pts": frame.pts - 1000}))
    assert chapters_of(tmp_path / "b.mkv")[1] == (Fraction(6, 5), Fraction(3, 2), "zwei")


def words_of(path):
    """(Start in seconds, length in seconds, words) of each subtitle, decoded."""
    with av.open(str(path)) as container:
        found = []
        for packet in container.demux(subtitles=0):
            lines = packet.stream.codec_context.decode2(packet) if packet.size else None
            text = "".join(line.dialogue.decode() for line in lines or ())
            if text:
                found.append((packet.pts * packet.time_base, packet.duration * packet.time_base, text))
        return packet.stream.codec_context.name, found


@pytest.mark.parametrize(("suffix", "own"), [(".mp4", "mov_text"), (".mov", "mov_text"), (".webm", "webvtt")])
def test_text_becomes_the_containers_own(tmp_path, suffix, own):
    film = rich(tmp_path, subtitles=TEXTS)
    sink = copy(film, tmp_path / f"b{suffix}")
    assert words_of(tmp_path / f"b{suffix}") == (own, in_seconds(TEXTS))
    assert f"subtitle stream 2 (srt) is kept as {own}; its styling may be lost" in sink.warnings
    copy(tmp_path / f"b{suffix}", tmp_path / "back.mkv")
    assert [row[2] for row in words_of(tmp_path / "back.mkv")[1]] == [text for _, _, text in TEXTS]


def test_pictures_as_subtitles_are_named_where_they_do_not_fit(tmp_path):
    film = rich(tmp_path, subtitles=[(0, 100, "x" * 40)], subtitle_codec="dvd_subtitle")
    sink = copy(film, tmp_path / "b.webm")
    assert "subtitle stream 2 (dvdsub) is left out: webm does not hold dvdsub" in sink.warnings


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_of_avi_without_a_channel_layout_is_kept(tmp_path, suffix):
    film = write_film(tmp_path / "a.avi", pictures(12), sound_seconds=0.5, sound_codec="pcm_s16le")
    with av.open(str(film)) as container:
        assert container.streams.audio[0].layout.name == "2 channels"
    sink = copy(film, tmp_path / f"b{suffix}")
    assert sink.warnings == ()
    joined = [b"".join(data for _, data in sound_of(path)[0]) for path in (film, tmp_path / f"b{suffix}")]
    assert joined[0] == joined[1]


def test_what_a_container_refuses_at_its_end_is_known_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr("dgafvsr.video.stream_plan.LAYOUTS", {})
    film = write_film(tmp_path / "a.avi", pictures(12), sound_seconds=0.5, sound_codec="pcm_s16le")
    sink = copy(film, tmp_path / "b.mp4")
    assert sink.warnings == ("audio stream 1 (pcm_s16le) is left out: mp4 does not hold pcm_s16le",)
    assert sound_of(tmp_path / "b.mp4") == []


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4", "b.webm", "b"])
def test_what_is_lost_is_known_before_the_work_begins(tmp_path, name):
    film = rich(tmp_path, subtitles=TEXTS, chapters=CHAPTERS, attachment=FONT)
    sink = copy(film, tmp_path / name, **({"options": {"preset": "12"}} if name == "b.webm" else {}))
    with open_source(film) as reader:
        foreseen = foreseen_losses(reader.info, plan_encoding(tmp_path / name, reader.info))
    assert foreseen == tuple(each for each in sink.warnings if "moved" not in each)
    assert bool(foreseen) == (name != "b.mkv")


def joined(tmp_path):
    """Two recordings of a transport stream, one after the other in one file; the second begins at 0 again."""
    parts = [
        write_film(tmp_path / f"{count}.ts", pictures(count), sound_seconds=count / 24, sound_codec="mp2")
        for count in (48, 30)
    ]
    film = tmp_path / "joined.ts"
    film.write_bytes(b"".join(part.read_bytes() for part in parts))
    return film, [data for part in parts for _, data in sound_of(part)[0]]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_sound_of_joined_recordings_goes_on(tmp_path, suffix):
    film, packets = joined(tmp_path)
    target = tmp_path / f"b{suffix}"
    with open_source(film, on_error="skip-damaged") as reader, open_sink(target, reader.info) as sink:
        for frame in reader:
            sink.write(frame)
    assert any("audio stream 1 (mp2) jumps back in time (1 x)" in note for note in sink.warnings)
    (sound,) = sound_of(target)
    assert [data for _, data in sound] == packets
    gaps = [float(after - before) for (before, _), (after, _) in pairwise(sound)]
    assert gaps == pytest.approx([0.024] * len(gaps), abs=0.0021)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_text_that_cannot_be_read_is_left_out(tmp_path, suffix):
    texts = [(0, 100, "Guten Tag"), (120, 200, "UNREADABLE"), (400, 80, "Ende")]
    film = rich(tmp_path, subtitles=texts)
    film.write_bytes(film.read_bytes().replace(b"UNREADABLE", b"Gr\xfc\xdfe aus "))  # Latin-1, as of old files
    sink = copy(film, tmp_path / f"b{suffix}")
    assert "1 texts of subtitle stream 2 (srt) cannot be read and are left out" in sink.warnings
    shown = [text for *_, text in texts_of(tmp_path / f"b{suffix}") if text.strip("\0")]
    assert len(shown) == 2


def test_stream_that_the_container_refuses_ends_there_and_not_the_film(tmp_path, monkeypatch):
    film = write_film(tmp_path / "a.mkv", pictures(12), sound_seconds=0.5)
    place = RisingTimes.place

    def spoil(times, packet):
        place(times, packet)
        if packet.pts and packet.pts * packet.time_base > Fraction(1, 4):
            packet.pts = packet.dts - 5  # shown before it is decoded

    monkeypatch.setattr(RisingTimes, "place", spoil)
    sink = copy(film, tmp_path / "b.mp4")
    (note,) = [note for note in sink.warnings if "refuses what follows" in note]
    assert note.startswith("audio stream 1 (aac) ends at 0.2")
    assert len(list(open_source(tmp_path / "b.mp4"))) == 12
    assert 0 < len(sound_of(tmp_path / "b.mp4")[0]) < len(sound_of(film)[0])
