"""`python -m headrace.api.generate` writes every generated file, and its check names those that differ."""

from __future__ import annotations

import yaml

from headrace.api.crd import custom_resource_definitions
from headrace.api.generate import chart_template, generated_files, main


def test_what_was_written_passes_the_check(tmp_path, capsys):
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0

    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*") if path.is_file()} == set(
        generated_files()
    )
    assert capsys.readouterr().err == ""


def test_the_check_names_what_is_missing_changed_or_left_over(tmp_path, capsys):
    main(["--root", str(tmp_path)])
    (tmp_path / "docs/api.md").unlink()
    (tmp_path / "crds/headrace.dev_flows.yaml").write_text("kind: Flow")
    (tmp_path / "crds/headrace.dev_pools.yaml").write_text("kind: Pool")

    assert main(["--check", "--root", str(tmp_path)]) == 1

    told = [line.split(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ["crds/headrace.dev_flows.yaml", "docs/api.md", "crds/headrace.dev_pools.yaml"]
    assert not (tmp_path / "docs/api.md").exists()


def test_writing_removes_a_definition_without_a_model(tmp_path):
    main(["--root", str(tmp_path)])
    left_over = tmp_path / "charts/headrace/templates/crds/headrace.dev_pools.yaml"
    left_over.write_text("kind: Pool")

    main(["--root", str(tmp_path)])

    assert not left_over.exists()
    assert main(["--check", "--root", str(tmp_path)]) == 0


def test_braces_in_a_text_are_no_action_of_the_chart():
    crd = custom_resource_definitions()[0]
    crd["spec"]["note"] = "write {{ day }}"

    assert 'note: write {{ "{{" }} day }}' in chart_template(crd)


def test_definitions_are_written_as_yaml_that_reads_back_the_same():
    for crd in custom_resource_definitions():
        path = f"crds/headrace.dev_{crd['spec']['names']['plural']}.yaml"
        assert yaml.safe_load(generated_files()[path]) == crd
