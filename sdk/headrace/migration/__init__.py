"""
From what schedules jobs elsewhere to our files: deployments and modules of Prefect, crontabs, CronJobs.

    sources.migrate ──> prefect_yaml | python_source | crontab | cronjob ──> Migrated ──> writing

A source is read, never run; what comes of it is manifests, modules and findings. What has no counterpart becomes a finding
that says what to do by hand; nothing is dropped without one. Every manifest is checked before anything is written.
"""
