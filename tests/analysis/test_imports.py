import subprocess
import sys


def modules_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    return set(
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_importing_everything_needs_no_scaling_and_no_jax():
    code = (
        "import analysis\n"
        "from analysis import AnalysisError, Fit, LAWS, Law, fit, load, select\n"
        "from analysis import backtest, figures, forecasts, isoflop, report\n"
    )
    found = modules_after(code)
    assert "analysis.figures.style" in found
    assert not {"scaling", "jax", "flax"} & found


def test_the_package_alone_is_light():
    assert not {"numpy", "pandas", "scipy", "matplotlib"} & modules_after("import analysis")
