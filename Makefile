# Each target installs what it needs; git, make and Python 3.11 or newer are enough to start.
export RAY_ENABLE_UV_RUN_RUNTIME_ENV := 0# or `uv run` ships the working directory to every Ray worker
export UV_COMPILE_BYTECODE := 1# once at installation, not in every process that starts
export PYTHONDONTWRITEBYTECODE :=# for the same reason, whatever the environment says
UV := $(or $(shell command -v uv),.cache/uv/bin/uv)
RUN := $(UV) run --frozen --no-sync
RESTARTS := tests/faults/test_api_server_trouble.py# kills the API server: alone, or what follows may find it lame
EIGHT_BITS := --with bitsandbytes==0.50.2# beside the environment: diffusers and peft import it wherever it is, 2 s in every process
PARALLEL := -n auto --maxprocesses 8 --dist worksteal
ELSEWHERE := $(addprefix --ignore=tests/,e2e integration serving/deployed training/on_ray serving/test_page_in_browser.py)# not even imported
E2E_RESULT := .pytest_cache/e2e/result.xml# beside the transcripts
PAIR := -n 2 --dist loadscope --no-loadscope-reorder
.PHONY: init lint type unit test deployed integration cluster node e2e e2e-smoke images page demo docs proto generate bench clean

.cache/uv/bin/uv:
	python3 -m venv .cache/uv && .cache/uv/bin/pip install --quiet uv==0.13.8
init: $(UV)
	@$(UV) sync --frozen --extra serving --extra operator --extra onnx
lint: init
	$(RUN) ruff check && $(RUN) ruff format --check && $(RUN) lint-imports
type: init
	$(RUN) mypy
unit: init
	OMP_NUM_THREADS=1 $(RUN) pytest -m "not (slow or fuzz or ray or deployed or browser or integration or e2e)" $(PARALLEL) $(ELSEWHERE)
test: init
	OMP_NUM_THREADS=1 $(RUN) pytest -m "not (eight_bits or ray or deployed or browser or integration or e2e)" $(PARALLEL) $(ELSEWHERE)
	$(RUN) $(EIGHT_BITS) python -m pytest tests/training/test_eight_bits.py
	$(RUN) pytest -m ray $(PAIR)
deployed: init
	$(RUN) pytest -m deployed $(PAIR)
integration: init
	PYTHONPATH=tests $(RUN) python -m cluster.tools
	$(RUN) pytest -m integration $(PAIR) --timeout 900 --ignore=$(RESTARTS) || $(RUN) pytest -m integration --timeout 900 --ignore=$(RESTARTS) --last-failed
	$(RUN) pytest -m integration --timeout 900 $(RESTARTS)
cluster: init
	@PYTHONPATH=tests $(RUN) python -m cluster
node: init
	@PYTHONPATH=tests $(RUN) python -m cluster.node
e2e-smoke: init
	PYTHONPATH=tests $(RUN) python -m cluster.node.prepare
	$(RUN) pytest -m e2e tests/e2e/test_smoke.py
e2e: init
	PYTHONPATH=tests $(RUN) python -m cluster.node.prepare
	$(RUN) pytest -m e2e tests/e2e --junitxml $(E2E_RESULT); code=$$?; PYTHONPATH=tests $(RUN) python -m e2e.record $(E2E_RESULT); exit $$code
images:
	@images/build.sh
page: init
	@command -v chromium >/dev/null || if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq chromium; \
	else echo "The page is tried in Chromium. Install it first: sudo apt-get install chromium"; exit 1; fi
	$(RUN) pytest -m browser
demo: init
	$(RUN) diptych run examples/noto-style.yaml --set output.uri=demo/runs --evidence demo
	$(RUN) python examples/compare_on_server.py demo
docs: init
	$(RUN) python -m diptych_cli.reference docs/reference/cli.md
proto: init
	$(RUN) python -m grpc_tools.protoc -I serving --python_out=serving --pyi_out=serving --grpc_python_out=serving serving/diptych_serving/v1/images.proto
generate: docs proto
	$(RUN) python -m diptych_api.generate
	$(RUN) python -m diptych_operator.chart
bench: init
	$(RUN) python bench/train.py script
	$(RUN) python bench/train.py ray
	$(RUN) python bench/train.py scaling
	$(RUN) python bench/serve.py compare
	$(RUN) python bench/serve.py trace
	$(RUN) python bench/serve.py gateway
	$(RUN) python bench/serve.py encoding
	$(RUN) python bench/serve.py soak --minutes 1
	$(RUN) python bench/serve.py cold-start
	$(RUN) python bench/operate.py --small
clean:
	rm -rf .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache demo dist
