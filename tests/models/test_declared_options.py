"""What a method declares is read from its source: it equals what the imported class says."""

import pytest

from conftest import InstallMethod, imported_after
from pollice.errors import OptionError
from pollice.method import former_names
from pollice.methods import (
    check_declared_options,
    find_method,
    method_names,
    method_options,
    method_summary,
)
from pollice.models.declared_options import read_declaration


@pytest.mark.parametrize("name", method_names())
def test_the_source_says_what_the_class_says(name: str) -> None:
    declared = read_declaration(f"pollice.methods.{name}")
    assert declared is not None
    assert declared.options == tuple(option.name for option in method_options(name))
    assert declared.former_options == set(former_names(find_method(name)))
    assert declared.summary == (find_method(name).__doc__ or "").partition("\n")[0]


def test_reading_imports_no_method() -> None:
    code = (
        "from pollice.methods import method_names, method_summary, check_declared_options\n"
        "assert all(map(method_summary, method_names()))\n"
        "check_declared_options('finetune', ['epochs', 'keep'])"
    )
    assert not {"torch", "transformers", "sklearn"} & imported_after(code)


def test_a_module_without_a_source_declares_nothing() -> None:
    assert read_declaration("pollice.methods.no_such_method") is None


def test_methods_of_other_packages_are_imported_to_know_them(
    install_method: InstallMethod,
) -> None:
    install_method(
        "theirs",
        "from pollice.methods.baseline import Baseline\n\n\n"
        'class Theirs(Baseline):\n    """Of somebody else."""\n',
    )
    assert method_summary("theirs") == "Of somebody else."
    check_declared_options("theirs", ["anything"])


def test_an_unknown_option_is_refused_with_all_options() -> None:
    with pytest.raises(
        OptionError,
        match=r"^Method 'baseline' has no option 'ngram'. Did you mean 'ngrams'\? "
        r"Its options are: ngrams, characters, max_features, seed\.$",
    ):
        check_declared_options("baseline", ["seed", "ngram"])
