#include "pages.h"

#include <string_view>

namespace {

// Every text that is not HTML goes through this, also what only the staff can write.
std::string escaped(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

std::string money(std::int64_t cents) {
  const std::string rest = std::to_string(cents % 100);
  return std::to_string(cents / 100) + '.' + std::string(2 - rest.size(), '0') + rest;
}

std::string item(std::int64_t id, const std::string& name, std::int64_t price) {
  return "<li><a href=\"/products/" + std::to_string(id) + "\">" + escaped(name) + "</a>, " +
         money(price) + "</li>\n";
}

std::string page(const std::string& title, const std::string& body) {
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" +
         escaped(title) + "</title></head><body>\n<h1>" + escaped(title) + "</h1>\n" + body +
         "</body></html>\n";
}

}  // namespace

std::string list_page(const std::vector<Product>& products) {
  std::string body = "<ul>\n";
  for (const Product& product : products) body += item(product.id, product.name, product.price);
  return page("Shop", body + "</ul>\n");
}

std::string product_page(const Product& product, const Suggestions& suggestions) {
  std::string body = "<p>" + money(product.price) + ", " + std::to_string(product.stock) +
                     " in stock</p>\n<h2>Often bought together</h2>\n<ul>\n";
  for (const Suggestion& one : suggestions.list) body += item(one.id, one.name, one.price);
  return page(product.name, body + "</ul>\n<p><a href=\"/\">All products</a></p>\n");
}
