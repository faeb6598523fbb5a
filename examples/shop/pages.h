// The pages of the shop, as HTML. They are the same for every visitor, so that a cache may keep
// them.

#pragma once

#include <string>
#include <vector>

#include "goods.h"

std::string list_page(const std::vector<Product>& products);
std::string product_page(const Product& product, const Suggestions& suggestions);
