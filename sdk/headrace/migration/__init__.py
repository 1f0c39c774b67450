"""
From what schedules jobs elsewhere to our files: deployments and modules of Prefect, crontabs, CronJobs.

    sources.read ──> prefect_yaml | module | crontab | cronjob ──> Migrated (manifests, modules, findings) ──> writing

A source is read, never run. What has no counterpart becomes a finding that says what to do by hand; nothing is dropped
without one. Every manifest is checked before anything is written.
"""
