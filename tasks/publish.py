"""The stage that publishes the run in a folder."""

from gan.config import RunConfig
from gan.runs.manifest import AVERAGE_GENERATOR, DATA_SUMMARY, EXTRACTOR, GENERATOR, manifest_content
from gan.runs.publish import publish_run
from gan.storage.store import Store
from tasks.code_identity import PUBLISHED_LIBRARIES
from tasks.records import Comparison, Opponents, PublishedRun, RunRecords
from tasks.stage import PROCESSORS, stage


@stage(run_name="publish {run.name}", timeout_seconds=1800)
def publish(
    store: Store, run: RunConfig, records: RunRecords, opponents: Opponents, comparison: Comparison
) -> PublishedRun:
    """Publish everything in `runs/<name>`, whole or not at all."""
    trained, judgement, stages = records.trained, comparison.judgement, {**records.by_stage, "compare": comparison}
    reference, champion = opponents.reference, opponents.champion
    refs = {
        GENERATOR: trained.generator,
        AVERAGE_GENERATOR: trained.average,
        EXTRACTOR: records.extractor.weights,
        DATA_SUMMARY: records.data.summary,
        **records.pictures.by_path,
        **comparison.by_path,
    }
    published = publish_run(
        store.root,
        run.name,
        {path: store.path(ref) for path, ref in refs.items()},
        config=run.content().model_dump(mode="json"),
        metrics={
            **judgement.content(),
            "extractor_sha256": records.extractor.weights.sha256,
            "timings_seconds": {name: record.seconds for name, record in stages.items()},
            "training": trained.facts,
            "warnings": trained.warnings,
            "data_warnings": records.data_warnings,
        },
        manifest={
            **manifest_content(run, records.provenance(), libraries=PUBLISHED_LIBRARIES),
            # files in the store that are kept as long as the run
            "stored": sorted({ref.sha256 for record in (records, comparison) for ref in record.files()}),
            "processors": {name: record.facts.get(PROCESSORS) for name, record in stages.items()},
            "reference": reference and reference.model_dump(mode="json"),
            "champion": champion and champion.model_dump(mode="json"),
            "gate": judgement.gate.model_dump(mode="json"),
        },
    )
    return PublishedRun(name=run.name, published=published)
