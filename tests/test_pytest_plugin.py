"""``pytest --gradviz-blame``: what is added to a failing test, and that nothing is without the option."""

import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

pytest_plugins = "pytester"
ROOT = Path(__file__).parent.parent

FAILING = """
    import numpy as np
    import gradviz
    from gradviz import Tensor, assert_finite

    def test_loss():
        w = Tensor([1.0, -2.0], name="w")
        with np.errstate(all="ignore"):
            loss = np.mean(np.log(w))
        assert np.isfinite(loss.item())
"""


def run(pytester, *options):
    return pytester.runpytest_subprocess("-p", "gradviz_pytest", "-p", "no:cacheprovider", *options)


def test_a_failing_test_says_who_is_to_blame_and_draws_it(pytester):
    pytester.makepyfile(test_it=FAILING)
    done = run(pytester, "--gradviz-blame")
    done.assert_outcomes(failed=1)
    text = done.stdout.str()
    assert "gradviz blame" in text
    assert "loss: nan: born at 0.f.1 (forward), log_1 = log(w) makes nan at [1]" in text
    assert "there: w = -2" in text
    assert "test_it.py:8  loss = np.mean(np.log(w))" in text
    assert "np.log(np.maximum(w, eps))" in text
    (picture,) = (pytester.path / ".gradviz-blame").iterdir()
    assert picture.name == "test_it.py-test_loss-loss.svg"
    assert str(picture) in text
    assert "log" in "".join(ET.parse(picture).getroot().itertext())


def test_the_guilty_node_is_outlined(pytester):
    import gradviz
    from gradviz import Tensor

    pytester.makepyfile(test_it=FAILING)
    run(pytester, "--gradviz-blame")
    drawn = next((pytester.path / ".gradviz-blame").iterdir()).read_text("utf-8")
    w = Tensor([1.0, -2.0], name="w")
    plain = gradviz.draw(w * w).svg
    assert drawn.count("highlight") > plain.count("highlight")


def test_nothing_is_added_without_the_option(pytester):
    pytester.makepyfile(test_it=FAILING)
    done = run(pytester)
    done.assert_outcomes(failed=1)
    assert "gradviz blame" not in done.stdout.str()
    assert not (pytester.path / ".gradviz-blame").exists()


def test_without_the_option_gradviz_is_not_even_imported(pytester):
    pytester.makepyfile(
        test_it="""
        import sys

        def test_nothing():
            assert not {"gradviz", "numpy"} & set(sys.modules)
    """
    )
    run(pytester).assert_outcomes(passed=1)


def test_the_folder_can_be_chosen_and_parameters_of_tests_are_in_the_name(pytester):
    pytester.makepyfile(
        test_it="""
        import numpy as np, pytest
        from gradviz import Tensor, assert_finite

        @pytest.mark.parametrize("start", ["a/b", "c d"])
        def test_loss(start):
            w = Tensor(0.0, name="w")
            total = np.sqrt(w) + w
            assert_finite(total)
    """
    )
    done = run(pytester, "--gradviz-blame", "--gradviz-blame-dir=out/pictures")
    done.assert_outcomes(failed=2)
    names = {path.name for path in (pytester.path / "out" / "pictures").iterdir()}
    assert names == {"test_it.py-test_loss-a-b-total.svg", "test_it.py-test_loss-c-d-total.svg"}
    assert "total: inf: born at 0.b.1 (backward)" in done.stdout.str()


def test_runs_and_debuggers_are_asked_too(pytester):
    pytester.makepyfile(
        test_it="""
        import numpy as np, gradviz
        from gradviz import Tensor

        def test_run(tmp_path):
            w = Tensor(1.0, name="w")
            with np.errstate(all="ignore"), gradviz.trace(tmp_path / "run", params={"w": w}) as log:
                for _ in range(4):
                    w.zero_grad()
                    loss = np.log(w)
                    loss.backward()
                    log.step(loss)
                    w.data = w.data - 1.5 * w.grad
            del loss
            run = gradviz.open_run(tmp_path / "run")
            assert False
    """
    )
    text = run(pytester, "--gradviz-blame").stdout.str()
    assert "run: nan: born at 1.f.1 (forward), loss = log(w) makes nan" in text


def test_what_is_sound_and_what_cannot_be_asked_is_said(pytester):
    pytester.makepyfile(
        test_it="""
        import numpy as np
        from gradviz import Tensor

        def test_sound():
            w = Tensor([1.0, 2.0], name="w")
            loss = np.sum(w * w)
            assert loss.item() == 0

        def test_no_tensor():
            assert 1 == 2

        def test_changed():
            w = Tensor(1.0, name="w")
            loss = np.exp(w) * w
            w.data = 3.0
            raise ValueError(w)
    """
    )
    done = run(pytester, "--gradviz-blame")
    done.assert_outcomes(failed=3)
    text = done.stdout.str()
    assert "nothing is wrong that blame knows of in loss" in text
    assert text.count("gradviz blame") <= 3


def test_an_error_of_ours_does_not_break_the_run(pytester):
    pytester.makepyfile(test_it=FAILING)
    pytester.makeconftest("""
        import gradviz.debugger.debugger as module

        def broken(*args, **options):
            raise SystemError("broken\\x1b[31m")

        module.blame = broken
    """)
    done = run(pytester, "--gradviz-blame")
    done.assert_outcomes(failed=1)
    assert "loss: no blame: broken" in done.stdout.str()


def test_a_folder_that_cannot_be_made_is_said(pytester):
    pytester.makepyfile(test_it=FAILING)
    (pytester.path / "taken").write_text("")
    done = run(pytester, "--gradviz-blame", "--gradviz-blame-dir=taken")
    done.assert_outcomes(failed=1)
    assert re.search(r"picture: none, \w*Error", done.stdout.str())
    assert "born at 0.f.1" in done.stdout.str()


def test_passing_tests_and_large_graphs_are_left_alone(pytester):
    pytester.makepyfile(
        test_it="""
        import numpy as np
        from gradviz import Tensor

        def test_fine():
            loss = np.log(Tensor(-1.0))

        def test_large():
            h = Tensor(1.0, name="h")
            loss = h
            for _ in range(200):
                loss = np.sin(loss)
            loss = np.log(loss - 2.0)
            assert False
    """
    )
    done = run(pytester, "--gradviz-blame", "-W", "ignore")
    done.assert_outcomes(passed=1, failed=1)
    assert done.stdout.str().count("born at") == 1
    (picture,) = (pytester.path / ".gradviz-blame").iterdir()
    assert "sin_10<" not in picture.read_text("utf-8")  # only what is near is drawn


def test_it_works_with_workers(pytester):
    pytester.makepyfile(test_it=FAILING)
    done = run(pytester, "--gradviz-blame", "-n", "1")
    done.assert_outcomes(failed=1)
    assert "born at 0.f.1 (forward)" in done.stdout.str()


def test_pytest_finds_it_by_its_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"gradviz_pytest": "gradviz_pytest"}
    assert "gradviz_pytest" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def test_the_plugin_itself_imports_nothing_heavy():
    code = "import sys, gradviz_pytest; print({'gradviz', 'numpy', 'pytest'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"


def test_an_operation_that_was_stopped_at_is_blamed(pytester):
    pytester.makepyfile(
        test_it="""
        import numpy as np
        import gradviz
        from gradviz import Tensor

        def test_loss():
            w = Tensor(1.0, name="w")
            sound = w * 2.0
            with np.errstate(all="ignore"), gradviz.debugging(stop="raise"):
                loss = np.log(w - 1.0)
        """
    )
    done = run(pytester, "--gradviz-blame")
    done.assert_outcomes(failed=1)
    assert "stopped: inf: born at 0.f.3 (forward), loss = log(sub_1) makes -inf" in done.stdout.str()
    assert "nothing is wrong" not in done.stdout.str()
    assert [path.name for path in (pytester.path / ".gradviz-blame").iterdir()] == ["test_it.py-test_loss-stopped.svg"]
