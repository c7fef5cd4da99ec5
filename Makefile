# Each target works from a fresh clone with Python 3.11+ and GNU make, nothing else.

PYTHON ?= python3
RUN := .venv
DEV := .venv-dev
BIN := $(DEV)/bin
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet

.PHONY: help run test check simulate soak bench fleet image sbom image-packages image-audit packages release-check format generate \
	dashboards screenshot lock clean

help:
	@echo "make run       the probe in front of a demo CSI driver, on http://127.0.0.1:9808"
	@echo "make test      the whole test suite"
	@echo "make test-browser, test-grafana, test-prometheus, test-image, test-instructions, test-strace"
	@echo "               what needs Chromium, npm's registry, Debian's mirror, the means to build an"
	@echo "               image, valgrind, strace"
	@echo "make check     linters, type checkers, layers, generated code, lock files"
	@echo "make simulate  the schedules in simulation: a table, and a picture in build/"
	@echo "make soak      200,000 Probes and 1,000,000 requests with faults, half an hour or more"
	@echo "make bench     this program beside others (PEERS), half an hour: a table, and a picture in build/"
	@echo "make fleet     100 sidecars and one Prometheus: what a fleet costs, three minutes"
	@echo "make image     the image, and with image-packages, sbom, image-audit what it is made of;"
	@echo "               each, and test-image, for another PLATFORM such as linux/arm64, emulated"
	@echo "make packages  wheel and source distribution, installed and tried with each of PYTHONS"
	@echo "make release-check  the same on other Pythons too, and whether the changelog knows it"
	@echo "make format    let ruff rewrite the code"
	@echo "make generate  rebuild generated/ from its .proto files"
	@echo "make dashboards  rebuild Grafana's dashboards from their code"
	@echo "make screenshot  the pictures of the status page in the README"
	@echo "make lock      bring the lock files in step with pyproject.toml"
	@echo "make clean     remove what the others made"

run: $(RUN)/ready
	@$(RUN)/bin/python -m livenessprobe.demo

# What is tested with more than Python: with a browser, Grafana's types, a Prometheus, a real image,
# valgrind, strace.
WITH := browser grafana prometheus image instructions strace

# Most tests wait rather than compute, so two at a time suit two cores.
WORKERS ?= 2

test: $(DEV)/ready
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS) --dist loadfile $(addprefix --ignore=tests/,$(WITH)) $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(if $(PYTEST_ARGS),,$(BIN)/coverage report)

.PHONY: $(addprefix test-,$(WITH))
$(addprefix test-,$(filter-out prometheus,$(WITH))): test-%: $(DEV)/ready
	$(BIN)/pytest $(if $(PLATFORM),-m "not native") tests/$*

# The Debian suites whose Prometheus is tested with. bookworm has 2.42, sid has 3.5 or later.
PROMETHEUS ?= bookworm sid

test-prometheus: $(DEV)/ready $(PROMETHEUS:%=build/prometheus/%/usr/bin/prometheus)
	@for suite in $(PROMETHEUS); do \
	  echo "with the Prometheus of $$suite:" && \
	  PATH="$(CURDIR)/build/prometheus/$$suite/usr/bin:$$PATH" $(BIN)/pytest tests/prometheus || exit; done

build/prometheus/%/usr/bin/prometheus: tests/prometheus/download.sh
	tests/prometheus/download.sh $* build/prometheus/$*
	@touch $@

check: $(DEV)/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --pedantic --quiet --no-progress .github
	$(MAKE) --no-print-directory check-generated check-dashboards check-lock

simulate: $(DEV)/ready
	@mkdir -p build
	$(BIN)/python -m tests.simulation --svg build/policies.svg

soak: $(DEV)/ready
	$(BIN)/python -m tests.soak

PEERS ?=    # for example --peer reference=/path/to/livenessprobe

bench: $(DEV)/ready
	@mkdir -p build
	$(BIN)/python -m tests.benchmarks $(PEERS) --json build/benchmarks.json --svg build/benchmarks.svg

fleet: $(DEV)/ready build/prometheus/sid/usr/bin/prometheus
	PATH="$(CURDIR)/build/prometheus/sid/usr/bin:$$PATH" $(BIN)/python -m tests.prometheus.fleet

# As root, with buildah, debootstrap, podman and runc. In the image is what Debian and requirements.lock
# have at the time, so that a fix there takes no more than a rebuild.

image: $(DEV)/ready
	$(BIN)/python -m tests.image.build

image-packages: image
	@$(BIN)/python -m tests.image.packages

sbom: image
	$(BIN)/python -m tests.image.sbom > build/livenessprobe.cdx.json

# OSV: a directory of vulnerabilities in the JSON of osv.dev.
image-audit: image
	$(BIN)/python -m tests.image.audit $(OSV)

# Each of these Pythons gets the packages installed, in an environment of its own.
PYTHONS ?= $(PYTHON)

packages: $(DEV)/ready
	rm -rf build/dist
	$(BIN)/hatchling build --directory build/dist
	@for python in $(PYTHONS); do $$python tests/release/install.py build/dist || exit; done

# As root, with what the image takes.
release-check: packages image
	tests/release/install_in.sh trixie python3.13
	tests/release/install_in.sh sid python3.14 python3.15
	grep "^## \[$$($(BIN)/hatchling version)\] - 20" CHANGELOG.md

format: $(DEV)/ready
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

# Generated code and lock files are committed, so that nobody needs the tools to use them.
# Each is made anew and compared, so that neither can drift from its source.

generate: $(DEV)/ready
	$(call betterproto,generated)

.PHONY: check-generated
check-generated: $(DEV)/ready
	@rm -rf build/generated && mkdir -p build/generated
	@$(call betterproto,build/generated)
	diff --recursive --exclude=proto --exclude=__pycache__ generated build/generated

screenshot: $(DEV)/ready
	$(BIN)/python -m tests.browser.screenshot

dashboards: $(DEV)/ready
	$(BIN)/python -m deploy.grafana deploy/grafana

.PHONY: check-dashboards
check-dashboards: $(DEV)/ready
	@rm -rf build/grafana && mkdir -p build/grafana
	@$(BIN)/python -m deploy.grafana build/grafana
	diff deploy/grafana/fleet.json build/grafana/fleet.json
	diff deploy/grafana/driver.json build/grafana/driver.json

define betterproto
PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc --proto_path=generated/proto \
	--python_betterproto_out=$(1) generated/proto/*.proto
endef

UV ?= $(BIN)/uv
# uv keeps the versions that a lock file already names, unless pyproject.toml forbids them.
LOCK = UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) --quiet pip compile --universal \
	--generate-hashes --no-emit-index-url --no-emit-find-links pyproject.toml

lock: $(DEV)/ready
	$(LOCK) --output-file requirements.lock
	$(LOCK) --group dev --output-file requirements-dev.lock

.PHONY: check-lock
check-lock: $(DEV)/ready
	@mkdir -p build && cp requirements.lock requirements-dev.lock build/
	$(LOCK) --output-file build/requirements.lock
	$(LOCK) --group dev --output-file build/requirements-dev.lock
	diff requirements.lock build/requirements.lock
	diff requirements-dev.lock build/requirements-dev.lock

$(RUN)/ready: requirements.lock
	$(PYTHON) -m venv --clear $(RUN)
	$(RUN)/bin/python $(PIP_INSTALL) --require-hashes -r requirements.lock
	@touch $@

$(DEV)/ready: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv --clear $(DEV)
	$(DEV)/bin/python $(PIP_INSTALL) --require-hashes -r requirements-dev.lock
	$(DEV)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf $(RUN) $(DEV) build dist .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
