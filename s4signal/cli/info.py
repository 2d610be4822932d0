"""`s4signal info`: describe a model file."""

from s4signal.cli.options import AsJson, ModelFile
from s4signal.cli.running import Screen


def info(model: ModelFile, as_json: AsJson = False) -> None:
    """Describe a model: channels, rate, band in Hz, memory in seconds, classes, training data."""
    from s4signal.estimators.provenance import load_estimator, read_provenance

    screen = Screen(as_json=as_json)
    fitted, provenance = load_estimator(model), read_provenance(model)
    screen.say(fitted.describe())
    classes = [str(name) for name in fitted.classes_.tolist()] if hasattr(fitted, "classes_") else None
    facts = {} if classes is None else {"classes": ", ".join(classes)}
    facts |= {"channels": ", ".join(fitted.ch_names_)} if fitted.ch_names_ else {}
    if n_cases := len(provenance.cases):
        how = ", ".join(f"{name} {value}" for name, value in provenance.reading.items())
        facts |= {"fitted on": f"{n_cases} cases of {len(provenance.groups)} groups"}
        facts |= {"read with": how or "the default options"}
    screen.facts(facts or {"fitted on": "unknown"})
    screen.result(
        {
            "estimator": type(fitted).__name__,
            "n_channels": fitted.n_channels_in_,
            "ch_names": fitted.ch_names_,
            "sfreq": fitted.sfreq_,
            "classes": classes,
            "parameters": {k: v for k, v in fitted.get_params(deep=False).items() if k != "callbacks"},
            "n_training_cases": n_cases or None,
            "reading": provenance.reading,
            "description": fitted.describe(),
        }
    )
