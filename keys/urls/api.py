"""``/api/token/...`` and ``/api/workspace/providers/...``"""

from django.urls import path

from keys.api.keys import Keys
from keys.api.money import Budgets, Prices, PricesOfTools
from keys.api.providers import Providers, ProviderTest
from workspaces.api_base import ITEM

urlpatterns = [
    path("token/", Keys.as_view({"get": "list", "post": "create", "put": "change_named"})),
    path("token/search/", Keys.as_view({"get": "list"})),
    path("token/batch/", Keys.as_view({"post": "batch"})),
    path("token/export/", Keys.as_view({"get": "export"})),
    path("token/<str:pk>/", Keys.as_view(ITEM)),
    path("token/<str:pk>/reveal/", Keys.as_view({"post": "reveal"})),
    path("workspace/budgets/", Budgets.as_view({"get": "list", "post": "create"})),
    path("workspace/budgets/<str:pk>/", Budgets.as_view(ITEM)),
    path("workspace/prices/", Prices.as_view({"get": "list", "post": "create"})),
    path("workspace/prices/<str:pk>/", Prices.as_view(ITEM)),
    path("workspace/tool-prices/", PricesOfTools.as_view({"get": "retrieve", "put": "update"})),
    path("workspace/providers/", Providers.as_view({"get": "list", "post": "create"})),
    path("workspace/providers/<str:pk>/", Providers.as_view(ITEM)),
    path("workspace/providers/<str:pk>/test/", ProviderTest.as_view({"post": "create"})),
]
