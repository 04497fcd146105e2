# mypy: allow-untyped-calls, no-warn-return-any
"""The model registry store: MLflow's own, with a gate in front of what promotes a version.

Every override first asks what is protected, then lets MLflow's method do the work. Versions are
looked up before anything is refused, so that MLflow's own not-found errors stay as they are.
"""

import os
from collections.abc import Sequence
from typing import Any

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelTag,
)
from mlflow.entities.model_registry.model_version_stages import get_canonical_stage
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.server.constants import READ_REPLICA_BACKEND_STORE_URI_ENV_VAR
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry import SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.model_registry.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.tracking.client import MlflowClient
from mlflow.utils.validation import (
    _validate_model_alias_name,
    _validate_model_alias_name_reserved,
    _validate_model_name,
    _validate_model_renaming,
    _validate_model_version,
)

from deepsigns_registry.config import Settings
from deepsigns_registry.errors import QueuedError, RefusedError
from deepsigns_registry.naming import command, section_of, version_name
from deepsigns_registry.registry.protocol import (
    COMMAND_TAG,
    LINE_TAG,
    WITH_HIDDEN_TAGS,
    PromotionRequest,
    is_hidden,
    is_reserved,
)
from deepsigns_registry.registry.shown import with_line
from mlflow_deepsigns.answers import answer, answered
from mlflow_deepsigns.checker import Checker, read_settings
from mlflow_deepsigns.commands import Commands
from mlflow_deepsigns.preflight import find_obstacle
from mlflow_deepsigns.records import Records, VersionRow, is_prompt_source
from mlflow_deepsigns.transactions import Sessions

__all__ = ["DeepSignsStore", "DeepSignsWorkspaceStore", "make_store"]


class DeepSignsStore(SqlAlchemyStore):
    """MLflow's SQL store; a protected alias, stage or name takes attested versions only."""

    def __init__(self, db_uri: str, read_db_uri: str | None = None) -> None:
        super().__init__(db_uri, read_db_uri=read_db_uri)
        self.ManagedSessionMaker = Sessions(self.ManagedSessionMaker)
        self._checker = Checker()
        self._records = Records(self, self.ManagedSessionMaker)
        self._commands = Commands(self._records, self._checker)

    # What promotes a version

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Sets an alias; a protected one on an unmarked version is queued and refused.

        What certainly cannot be marked is refused and not queued.
        """
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        _validate_model_alias_name_reserved(alias)
        row = self._records.version(name, version)
        with answered():
            # Read once: half of an edit of the settings decides nothing.
            settings = None if row.is_prompt else read_settings()
            if settings is not None and _protects_alias(settings, alias):
                self._need_attestation(row, alias, settings)
        with self._records.locked(name) as records:
            with answered():
                records.unchanged(row)
            super().set_registered_model_alias(name, alias, version)
            records.supersede(name, alias, f"alias set to version {row.version}")

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        """Moves a version to a stage; a protected stage takes attested versions only."""
        canonical = get_canonical_stage(stage)
        with answered():
            settings = read_settings()
        protected = {kept.casefold() for kept in settings.registry.protected_stages}
        if canonical.casefold() not in protected:
            return super().transition_model_version_stage(
                name, version, stage, archive_existing_versions
            )
        row = self._records.version(name, version)
        with answered():
            if not row.is_prompt:
                self._require(row, settings, f"stage '{canonical}' is protected")
        with self._records.locked(name) as records:
            with answered():
                records.unchanged(row)
            return super().transition_model_version_stage(
                name, version, stage, archive_existing_versions
            )

    def create_model_version(  # noqa: PLR0917 - MLflow's signature
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Sequence[ModelVersionTag] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Creates a version without deepsigns' tags; a protected name takes attested files only.

        What a copy brings along of ours, line and tags, was about the other version.
        """
        kept = [tag for tag in tags or () if not is_reserved(tag.key)]
        line = next((tag.value for tag in tags or () if tag.key == LINE_TAG), None)
        if line:
            description = with_line(description, line, None) or None
        more: dict[str, Any] = {
            "run_id": run_id,
            "tags": kept,
            "run_link": run_link,
            "description": description,
            "local_model_path": local_model_path,
            "model_id": model_id,
        }
        if is_prompt_source(source):
            return super().create_model_version(name, source, **more)
        with answered():
            settings = read_settings()
        if not settings.protects_model(name):
            return super().create_model_version(name, source, **more)
        _validate_model_name(name)
        self.get_registered_model(name)
        location = self._location_of(source)
        with answered():
            try:
                attestation = self._checker.attested(
                    location, settings, what=f"the model at {source}"
                )
            except RefusedError as error:
                raise RefusedError(
                    f"{error.message}, and the name '{name}' is protected",
                    advice="register it under another name, promote it there, then copy the "
                    "marked version",
                ) from None
        with self._records.locked(name) as records:
            created = super().create_model_version(name, source, **more)
            with answered():
                records.is_at(name, created.version, location)
                records.tell_marked(
                    VersionRow(name, int(created.version), location, is_prompt=False),
                    attestation.predicate,
                    None,
                )
            return self.get_model_version(name, created.version)

    def update_model_version(
        self, name: str, version: str, description: str | None = None
    ) -> ModelVersion:
        """Writes a description; under the lock, so that a line of ours replaces none of it."""
        with self._records.locked(name):
            return super().update_model_version(name, version, description)

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = SEARCH_MODEL_VERSION_MAX_RESULTS_DEFAULT,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        """Finds versions; what is in their tags for machines is left out unless it is asked for.

        The list of versions in MLflow's pages would show all of it.
        """
        found = super().search_model_versions(filter_string, max_results, order_by, page_token)
        if WITH_HIDDEN_TAGS not in (filter_string or ""):
            for version in found:
                for key in [key for key in version.tags if is_hidden(key)]:
                    del version.tags[key]
        return found

    # What takes a promotion back

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Deletes an alias, and with it what is queued for it."""
        _validate_model_name(name)
        _validate_model_alias_name(alias)
        with self._records.locked(name) as records:
            super().delete_registered_model_alias(name, alias)
            records.supersede(name, alias, "alias deleted")

    def delete_model_version(self, name: str, version: str) -> None:
        """Deletes a version; MLflow deletes its aliases, and we what is queued for them."""
        _validate_model_version(version)
        with self._records.locked(name) as records:
            aliases = records.aliases_of(name, version)
            super().delete_model_version(name, version)
            for alias in aliases:
                records.supersede(name, alias, f"version {version} deleted")
            records.supersede_version(name, version, f"version {version} deleted")

    def delete_registered_model(self, name: str) -> None:
        """Deletes a model; requests and leases are tags of its versions and go with them."""
        with self._records.locked(name):
            super().delete_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Renames a model; a protected new name takes attested versions only."""
        _validate_model_renaming(new_name)
        self.get_registered_model(name)
        with answered():
            settings = read_settings()
            rows = self._records.versions(name) if settings.protects_model(new_name) else []
            for row in rows:
                if not row.is_prompt:
                    self._require(row, settings, f"the name '{new_name}' is protected")
        with self._records.locked(name) as records:
            with answered():
                for row in rows:
                    records.unchanged(row)
                if settings.protects_model(new_name):
                    records.no_more_than(name, rows)
            renamed = super().rename_registered_model(name, new_name)
            records.renamed(new_name)
            return renamed

    # Tags

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        """Creates a registered model; it cannot come with reserved tags."""
        for tag in tags or ():
            _refuse_reserved(tag.key)
        return super().create_registered_model(name, tags, description, deployment_job_id)

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """Sets a tag of a model, except reserved ones and the one that makes it a prompt."""
        _refuse_reserved(tag.key)
        if tag.key == IS_PROMPT_TAG_KEY:
            _refuse_flip(self._is_prompt_tag(name), tag.value, name)
        super().set_registered_model_tag(name, tag)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Deletes a tag of a model, except reserved ones and the one that makes it a prompt."""
        _refuse_reserved(key)
        if key == IS_PROMPT_TAG_KEY:
            _refuse_flip(self._is_prompt_tag(name), None, name)
        super().delete_registered_model_tag(name, key)

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        """Sets a tag of a version; `deepsigns.command` is a signed command and is executed."""
        if tag.key == COMMAND_TAG:
            row = self._records.version(name, version)
            with answered():
                self._commands.execute(row, tag.value or "", read_settings())
            return
        _refuse_reserved(tag.key)
        if tag.key == IS_PROMPT_TAG_KEY and not self._records.version(name, version).is_prompt:
            _refuse_flip(None, tag.value, f"{name}/{version}")
        super().set_model_version_tag(name, version, tag)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Deletes a tag of a version, except reserved ones."""
        _refuse_reserved(key)
        super().delete_model_version_tag(name, version, key)

    # The gate

    def _require(self, row: VersionRow, settings: Settings, reason: str) -> None:
        try:
            self._checker.attested(row.location, settings, what=row.label)
        except RefusedError as error:
            alias = next(iter(settings.registry.protected_aliases), None)
            how = f"set the alias '{alias}' on it" if alias else "set a protected alias on it"
            raise RefusedError(
                f"{error.message}, and {reason}",
                advice=f"nothing was queued: {how} to have it marked, then use the marked version",
            ) from None

    def _need_attestation(self, row: VersionRow, alias: str, settings: Settings) -> None:
        try:
            self._checker.attested(row.location, settings, what=row.label)
        except RefusedError as error:
            obstacle = find_obstacle(row.location)
            if obstacle is not None:
                raise RefusedError(
                    f"{error.message}, alias '{alias}' is protected, and {row.label} cannot be "
                    f"marked: it {obstacle.reason}",
                    advice=f"nothing was queued: {obstacle.advice}, and register it again",
                ) from None
            request = self._queue(row, alias)
            label = version_name(row.name, row.version)
            advice = f"follow it with: {command('deepsigns', 'status', label)}"
            if settings.models and row.name not in settings.models:
                # The worker's settings may be others, so that this alone refuses nothing.
                section = section_of(row.name)
                advice += f" (the server's settings have no {section}; the worker's must)"
            raise QueuedError(
                f"{row.label} is queued for marking, and its marked version gets the protected "
                f"alias '{alias}' by itself: there is nothing else to do ({error.message} yet), "
                f"promotion request {request.id} is queued",
                advice=advice,
            ) from None

    def _queue(self, row: VersionRow, alias: str) -> PromotionRequest:
        with self._records.locked(row.name) as records, answered():
            records.unchanged(row)
            return records.enqueue(row, alias)

    def _is_prompt_tag(self, name: str) -> str | None:
        # The entity's public `tags` leaves this one out.
        return self.get_registered_model(name)._tags.get(IS_PROMPT_TAG_KEY)  # noqa: SLF001

    def _location_of(self, source: str) -> str:
        """Where a version created from this source would have its files."""
        if not source.startswith("models:/"):
            return source
        parsed = _parse_model_uri(source)
        if parsed.model_id is not None:
            return str(MlflowClient().get_logged_model(parsed.model_id).artifact_location)
        return str(self.get_model_version_download_uri(parsed.name, parsed.version))


class DeepSignsWorkspaceStore(DeepSignsStore, WorkspaceAwareSqlAlchemyStore):
    """The same for a server with workspaces."""


def make_store(db_uri: str) -> DeepSignsStore:
    """Opens the store that fits the server's settings.

    Args:
        db_uri: Database URI without `deepsigns:`.
    """
    kind = DeepSignsWorkspaceStore if MLFLOW_ENABLE_WORKSPACES.get() else DeepSignsStore
    return kind(db_uri, read_db_uri=os.environ.get(READ_REPLICA_BACKEND_STORE_URI_ENV_VAR))


def _protects_alias(settings: Settings, alias: str) -> bool:
    # Some databases compare without case: there "Champion" and "champion" are one row.
    return alias.casefold() in {kept.casefold() for kept in settings.registry.protected_aliases}


def _refuse_reserved(key: str) -> None:
    if is_reserved(key):
        raise answer(
            RefusedError(
                f"tag '{key}' is reserved: only deepsigns writes tags that begin with 'deepsigns.'",
                advice="choose another name",
            )
        )


def _refuse_flip(before: str | None, after: str | None, what: str) -> None:
    if (before or "false").casefold() != (after or "false").casefold():
        raise answer(
            RefusedError(
                f"{what}: a model cannot be turned into a prompt or back by '{IS_PROMPT_TAG_KEY}'",
                advice="register prompts with mlflow.genai.register_prompt",
            )
        )
