#include "polycache/observer.h"

namespace polycache {

Observer::~Observer() = default;

std::string_view name_of(Op op) noexcept {
  switch (op) {
    case Op::get:
      return "get";
    case Op::get_many:
      return "get_many";
    case Op::get_or_set:
      return "get_or_set";
    case Op::get_or_set_many:
      return "get_or_set_many";
    case Op::set:
      return "set";
    case Op::set_many:
      return "set_many";
    case Op::add:
      return "add";
    case Op::touch:
      return "touch";
    case Op::contains:
      return "contains";
    case Op::erase:
      return "erase";
    case Op::erase_many:
      return "erase_many";
    case Op::pop:
      return "pop";
    case Op::incr:
      return "incr";
    case Op::incr_version:
      return "incr_version";
    case Op::clear:
      return "clear";
    case Op::tags:
      return "tags";
    case Op::erase_tags:
      return "erase_tags";
    case Op::scan:
      return "scan";
    case Op::erase_pattern:
      return "erase_pattern";
    case Op::expire:
      return "expire";
    case Op::persist:
      return "persist";
    case Op::load:
      return "load";
    case Op::create_tag_index:
      return "create_tag_index";
    case Op::drop_tag_index:
      return "drop_tag_index";
    case Op::update:
      return "update";
    case Op::lock:
      return "lock";
    case Op::renew_lock:
      return "renew_lock";
    case Op::unlock:
      return "unlock";
    case Op::wait_for_lock:
      return "wait_for_lock";
    case Op::check_locks:
      return "check_locks";
    case Op::use_limit:
      return "use_limit";
    case Op::forget_limit:
      return "forget_limit";
    case Op::deque_push:
      return "deque_push";
    case Op::deque_pop:
      return "deque_pop";
    case Op::deque_read:
      return "deque_read";
    case Op::deque_size:
      return "deque_size";
    case Op::deque_rotate:
      return "deque_rotate";
    case Op::deque_clear:
      return "deque_clear";
    case Op::check_collections:
      return "check_collections";
    case Op::find_in_index:
      return "find_in_index";
    case Op::put_in_index:
      return "put_in_index";
    case Op::erase_from_index:
      return "erase_from_index";
    case Op::take_from_index:
      return "take_from_index";
    case Op::list_index:
      return "list_index";
    case Op::count_index:
      return "count_index";
    case Op::clear_index:
      return "clear_index";
  }
  return "unknown";
}

std::string_view name_of(Result result) noexcept {
  switch (result) {
    case Result::hit:
      return "hit";
    case Result::miss:
      return "miss";
    case Result::stale:
      return "stale";
    case Result::negative:
      return "negative";
    case Result::error:
      return "error";
    case Result::refused:
      return "refused";
  }
  return "unknown";
}

}  // namespace polycache
