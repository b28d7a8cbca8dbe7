"""Pages of several nodes as one."""

from diptych_serving.ray_metrics import merged

PAGE = """# HELP ray_diptych_pictures_total Pictures drawn.
# TYPE ray_diptych_pictures_total counter
ray_diptych_pictures_total{{adapter="base",replica="{replica}"}} {count}.0
# HELP ray_node_mem_used Memory.
# TYPE ray_node_mem_used gauge
ray_node_mem_used 1.0
"""


def test_pages_of_all_nodes_become_one_without_what_is_not_ours() -> None:
    families = merged([PAGE.format(replica="a", count=1), "", PAGE.format(replica="b", count=2)])
    assert [family.name for family in families] == ["ray_diptych_pictures"]
    assert {sample.labels["replica"]: sample.value for sample in families[0].samples} == {"a": 1, "b": 2}
