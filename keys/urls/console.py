"""Pages of keys and providers."""

from django.urls import path

from keys.console import keys, listing, money, providers, successors

urlpatterns = [
    path("keys/", listing.keys, name="keys"),
    path("keys/new/", keys.key_new, name="key_new"),
    path("keys/effect/", keys.key_effect, name="key_effect"),
    path("keys/bulk/", listing.bulk, name="keys_bulk"),
    path("keys/export/", listing.keys_export, name="keys_export"),
    path("keys/<str:pk>/", keys.key, name="key"),
    path("keys/<str:pk>/edit/", keys.key_edit, name="key_edit"),
    path("keys/<str:pk>/switch/", keys.key_switch, name="key_switch"),
    path("keys/<str:pk>/delete/", keys.key_delete, name="key_delete"),
    path("keys/<str:pk>/leak/", successors.leak, name="key_leak"),
    path("keys/<str:pk>/rotation/", successors.rotation, name="key_rotation"),
    path("keys/<str:pk>/reveal/", keys.key_reveal, name="key_reveal"),
    path("budgets/", money.budgets, name="budgets"),
    path("budgets/<str:pk>/delete/", money.budget_delete, name="budget_delete"),
    path("prices/", money.prices, name="prices"),
    path("prices/new/", money.price_new, name="price_new"),
    path("prices/tools/", money.tool_prices, name="tool_prices"),
    path("prices/<str:pk>/", money.price_edit, name="price"),
    path("prices/<str:pk>/delete/", money.price_delete, name="price_delete"),
    path("providers/", providers.providers, name="providers"),
    path("providers/new/", providers.provider_new, name="provider_new"),
    path("providers/<str:pk>/", providers.provider_edit, name="provider"),
    path("providers/<str:pk>/delete/", providers.provider_delete, name="provider_delete"),
    path("providers/<str:pk>/move/", providers.provider_move, name="provider_move"),
    path("providers/<str:pk>/test/", providers.provider_test, name="provider_test"),
]
