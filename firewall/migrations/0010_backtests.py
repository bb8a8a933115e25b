"""Backtests and their parts."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from workspaces import rls


class Migration(migrations.Migration):

    dependencies = [
        ('firewall', "0009_rule_days"),
        ('workspaces', '0004_audit_checkpoint'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Backtest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=9)),
                ('policy_id', models.BigIntegerField(null=True)),
                ('policy_version', models.PositiveIntegerField(null=True)),
                ('is_draft', models.BooleanField(default=False)),
                ('snapshot', models.JSONField()),
                ('start', models.DateTimeField()),
                ('end', models.DateTimeField()),
                ('key_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), null=True, size=None)),
                ('but_key_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list, size=None)),
                ('over_limit', models.JSONField(default=list)),
                ('events', models.BigIntegerField(null=True)),
                ('result', models.JSONField(null=True)),
                ('error', models.CharField(blank=True, max_length=300)),
                ('created_at', models.DateTimeField()),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('created_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='backtests', to='workspaces.workspace')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='BacktestPart',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first_run', models.TextField(null=True)),
                ('last_run', models.TextField(null=True)),
                ('events', models.BigIntegerField()),
                ('replayed', models.BigIntegerField(default=0)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('running', 'Running'), ('done', 'Done')], default='pending', max_length=7)),
                ('claim', models.UUIDField(null=True)),
                ('touched_at', models.DateTimeField(null=True)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('result', models.JSONField(null=True)),
                ('backtest', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='parts', to='firewall.backtest')),
                ('workspace', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='workspaces.workspace')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        rls.protect("firewall_backtest"),
        rls.protect("firewall_backtestpart"),
    ]
