#include "polycache/author/around_layer.h"

#include "base/collection_hooks.h"
#include "base/extension_hook.h"
#include "polycache/author/extension_list.h"
#include "polycache/error.h"

namespace polycache {

template <>
struct Hook<PaddedNumbersExtension> : NoHook {
  using NoHook::NoHook;
};
template <>
struct Hook<AdmissionExtension> : NoHook {
  using NoHook::NoHook;
};
template <>
struct Hook<IdleExtension> : NoHook {
  using NoHook::NoHook;
};
template <>
struct Hook<TagStampExtension> : NoHook {
  using NoHook::NoHook;
};

template <>
struct Hook<TtlExtension> : HookOf<TtlExtension> {
  using HookOf::HookOf;

  bool get(std::string_view key,
           FunctionRef<void(std::string_view value, Ttl left)> sink) override {
    const auto deliver = [&](const StoreItem& item) {
      sink(value_of(item), item.left.value_or(Ttl::forever()));
    };
    const auto go = [&](StoreItemSink each) {
      return StoreAnswer{.done = store->get(key, [&](std::string_view value, Ttl left) {
        each({.value = value, .left = left});
      })};
    };
    return layer.around(read_call(StoreOp::get_with_ttl, "get_with_ttl", {&key, 1}, deliver), go)
        .done;
  }

  void get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) override {
    const auto deliver = [&](const StoreItem& item) {
      sink(item.index, value_of(item), item.left.value_or(Ttl::forever()));
    };
    const auto go = [&](StoreItemSink each) {
      store->get_many(keys, [&](std::size_t i, std::string_view value, Ttl left) {
        each({.index = i, .value = value, .left = left});
      });
      return StoreAnswer{};
    };
    layer.around(read_call(StoreOp::get_many_with_ttl, "get_many_with_ttl", keys, deliver), go);
  }
};

template <>
struct Hook<CompareExtension> : HookOf<CompareExtension> {
  using HookOf::HookOf;

  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl) override {
    StoreCall call = write_call(StoreOp::put_if_equal, "put_if_equal", {&key, 1});
    call.new_value = value;
    call.expected = expected;
    call.new_ttl = ttl;
    const auto go = [&](StoreItemSink) {
      return StoreAnswer{.done = store->put_if_equal(key, expected, value, ttl)};
    };
    return layer.around(call, go).done;
  }

  bool erase_if_equal(std::string_view key, std::string_view expected) override {
    StoreCall call = write_call(StoreOp::erase_if_equal, "erase_if_equal", {&key, 1});
    call.expected = expected;
    const auto go = [&](StoreItemSink) {
      return StoreAnswer{.done = store->erase_if_equal(key, expected)};
    };
    return layer.around(call, go).done;
  }
};

template <>
struct Hook<PopExtension> : HookOf<PopExtension> {
  using HookOf::HookOf;

  bool pop(std::string_view key, ValueSink sink) override {
    const auto deliver = [&](const StoreItem& item) { sink(value_of(item)); };
    const auto go = [&](StoreItemSink each) {
      return StoreAnswer{
          .done = store->pop(key, [&](std::string_view value) { each({.value = value}); })};
    };
    return layer.around(write_call(StoreOp::pop, "pop", {&key, 1}, deliver), go).done;
  }
};

template <>
struct Hook<RenewExtension> : HookOf<RenewExtension> {
  using HookOf::HookOf;

  bool get(std::string_view key, Ttl ttl, ValueSink sink) override {
    const auto deliver = [&](const StoreItem& item) { sink(value_of(item)); };
    StoreCall call = write_call(StoreOp::get_and_renew, "get_and_renew", {&key, 1}, deliver);
    call.new_ttl = ttl;
    const auto go = [&](StoreItemSink each) {
      return StoreAnswer{
          .done = store->get(key, ttl, [&](std::string_view value) { each({.value = value}); })};
    };
    return layer.around(call, go).done;
  }
};

template <>
struct Hook<ErasePrefixExtension> : HookOf<ErasePrefixExtension> {
  using HookOf::HookOf;

  std::size_t erase_prefix(std::string_view prefix) override {
    const auto go = [&](StoreItemSink) {
      return StoreAnswer{.number = static_cast<std::int64_t>(store->erase_prefix(prefix))};
    };
    return count_of(
        layer.around(write_call(StoreOp::erase_prefix, "erase_prefix", {&prefix, 1}), go));
  }
};

template <>
struct Hook<HealthExtension> : HookOf<HealthExtension> {
  using HookOf::HookOf;

  void check(FunctionRef<void(const HealthExtension::Server&)> sink) override {
    const auto go = [&](StoreItemSink) {
      store->check(sink);
      return StoreAnswer{};
    };
    try {
      layer.around(read_call(StoreOp::check_health, "check_health", {}, StoreCall::ignore), go);
    } catch (const BackendError& error) {
      sink({.name = error.server().empty() ? "layer" : std::string_view(error.server()),
            .reachable = false,
            .error = error.what()});
    }
  }
};

template <>
struct Hook<ScanExtension> : HookOf<ScanExtension> {
  using HookOf::HookOf;

  // A layer that answers in place of the store ends the scan.
  std::string scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                   FunctionRef<void(const ScanExtension::Listed&)> sink) override {
    std::string next;
    std::uint64_t size = 0;  // of the entry being delivered: StoreItem has no place for it
    const auto deliver = [&](const StoreItem& item) {
      sink({.key = value_of(item), .size = size, .left = item.left});
    };
    const auto go = [&](StoreItemSink each) {
      std::int64_t listed = 0;
      next = store->scan(pattern, cursor, at_most, [&](const ScanExtension::Listed& entry) {
        ++listed;
        size = entry.size;
        each({.value = entry.key, .left = entry.left});
        size = 0;
      });
      return StoreAnswer{.number = listed};
    };
    layer.around(read_call(StoreOp::scan, "scan", {&pattern, 1}, deliver), go);
    return next;
  }
};

template <>
struct Hook<ErasePatternExtension> : HookOf<ErasePatternExtension> {
  using HookOf::HookOf;

  std::size_t erase_pattern(std::string_view pattern) override {
    const auto go = [&](StoreItemSink) {
      return StoreAnswer{.number = static_cast<std::int64_t>(store->erase_pattern(pattern))};
    };
    return count_of(
        layer.around(write_call(StoreOp::erase_pattern, "erase_pattern", {&pattern, 1}), go));
  }
};

template <>
struct Hook<TagIndexExtension> : HookOf<TagIndexExtension> {
  using HookOf::HookOf;

  bool has_index() override { return store->has_index(); }

  bool create_index() override {
    const auto go = [&](StoreItemSink) { return StoreAnswer{.done = store->create_index()}; };
    return layer.around(write_call(StoreOp::create_tag_index, "create_tag_index", {}), go).done;
  }

  bool drop_index() override {
    const auto go = [&](StoreItemSink) { return StoreAnswer{.done = store->drop_index()}; };
    return layer.around(write_call(StoreOp::drop_tag_index, "drop_tag_index", {}), go).done;
  }

  std::size_t erase_tagged(std::span<const std::uint64_t> versions) override {
    const auto go = [&](StoreItemSink) {
      return StoreAnswer{.number = static_cast<std::int64_t>(store->erase_tagged(versions))};
    };
    return count_of(layer.around(write_call(StoreOp::erase_tagged, "erase_tagged", {}), go));
  }
};

template <>
struct Hook<LockExtension> : HookOf<LockExtension> {
  using HookOf::HookOf;

  Taken take(const Claim& claim, std::chrono::milliseconds lease) override {
    StoreCall call = write_call(StoreOp::take_lock, "take_lock", {&claim.key, 1});
    call.new_value = claim.token;
    call.new_ttl = Ttl(lease);
    Taken taken;
    const auto go = [&](StoreItemSink) {
      taken = store->take(claim, lease);
      return StoreAnswer{.done = taken.taken,
                         .number = taken.taken
                                       ? std::optional(static_cast<std::int64_t>(taken.fence))
                                       : std::nullopt};
    };
    const StoreAnswer answer = layer.around(call, go);
    return {.taken = answer.done,
            .fence = answer.done ? static_cast<std::uint64_t>(answer.number.value_or(0)) : 0,
            .wait = taken.wait};
  }

  bool renew(const Claim& claim, std::chrono::milliseconds lease) override {
    StoreCall call = write_call(StoreOp::renew_lock, "renew_lock", {&claim.key, 1});
    call.expected = claim.token;
    call.new_ttl = Ttl(lease);
    const auto go = [&](StoreItemSink) { return StoreAnswer{.done = store->renew(claim, lease)}; };
    return layer.around(call, go).done;
  }

  bool release(const Claim& claim) override {
    StoreCall call = write_call(StoreOp::release_lock, "release_lock", {&claim.key, 1});
    call.expected = claim.token;
    const auto go = [&](StoreItemSink) { return StoreAnswer{.done = store->release(claim)}; };
    return layer.around(call, go).done;
  }

  bool wait(std::string_view key, std::chrono::milliseconds limit) override {
    const auto go = [&](StoreItemSink) { return StoreAnswer{.done = store->wait(key, limit)}; };
    return layer
        .around(read_call(StoreOp::wait_for_lock, "wait_for_lock", {&key, 1}, StoreCall::ignore),
                go)
        .done;
  }

  Keeping keeping() override { return store->keeping(); }
};

template <>
struct Hook<LimitExtension> : HookOf<LimitExtension> {
  using HookOf::HookOf;

  Used use(const Use& use) override {
    StoreCall call = write_call(StoreOp::use_limit, "use_limit", {&use.key, 1});
    call.delta = use.cost;
    Used used;
    const auto go = [&](StoreItemSink) {
      used = store->use(use);
      return StoreAnswer{.done = used.allowed, .number = used.now};
    };
    const StoreAnswer answer = layer.around(call, go);
    used.allowed = answer.done;
    used.now = answer.number.value_or(used.now);
    return used;
  }

  bool forget(std::string_view key) override {
    const auto go = [&](StoreItemSink) { return StoreAnswer{.done = store->forget(key)}; };
    return layer.around(write_call(StoreOp::forget_limit, "forget_limit", {&key, 1}), go).done;
  }
};

namespace {

template <class List>
struct HooksOf;
template <class... Extension>
struct HooksOf<ExtensionList<Extension...>> : Hook<Extension>... {
  explicit HooksOf(AroundLayer& layer) noexcept : Hook<Extension>(layer)... {}

  // Null if the list does not have this id.
  void* offer(std::string_view id, void* of_store) noexcept {
    void* offered = nullptr;
    const auto offer_as = [&]<class E>(Hook<E>& hook) {
      if (id == E::id) offered = hook.offer(of_store);
    };
    (offer_as(static_cast<Hook<Extension>&>(*this)), ...);
    return offered;
  }

 protected:
  ~HooksOf() = default;
};

}  // namespace

struct AroundLayer::Hooks final : HooksOf<SessionExtensions> {
  using HooksOf::HooksOf;
};

AroundLayer::AroundLayer(std::unique_ptr<Backend> inner, Transparency transparency)
    : Layer(std::move(inner)),
      transparency_(transparency),
      hooks_(std::make_unique<Hooks>(*this)) {}

AroundLayer::~AroundLayer() = default;

StoreAnswer AroundLayer::around(const StoreCall& call, StoreGo go) { return go(call.deliver); }

void* AroundLayer::extension(std::string_view id) noexcept {
  const bool spares_calls = id == AdmissionExtension::id || id == TagStampExtension::id;
  if (spares_calls && !transparency_.early_refusals) return nullptr;
  void* const of_store = inner().extension(id);
  if (of_store == nullptr) return nullptr;
  if (SessionExtensions::has(id)) return hooks_->offer(id, of_store);
  return transparency_.unknown_extensions ? of_store : nullptr;
}

bool AroundLayer::get(std::string_view key, ValueSink sink) {
  const auto deliver = [&](const StoreItem& item) { sink(value_of(item)); };
  const auto go = [&](StoreItemSink each) {
    return StoreAnswer{
        .done = inner().get(key, [&](std::string_view value) { each({.value = value}); })};
  };
  return around(read_call(StoreOp::get, "get", {&key, 1}, deliver), go).done;
}

bool AroundLayer::contains(std::string_view key, ValueSink head) {
  const auto deliver = [&](const StoreItem& item) { head(value_of(item)); };
  const auto go = [&](StoreItemSink each) {
    return StoreAnswer{
        .done = inner().contains(key, [&](std::string_view value) { each({.value = value}); })};
  };
  return around(read_call(StoreOp::contains, "contains", {&key, 1}, deliver), go).done;
}

void AroundLayer::get_many(std::span<const std::string_view> keys, IndexedValueSink sink) {
  const auto deliver = [&](const StoreItem& item) { sink(item.index, value_of(item)); };
  const auto go = [&](StoreItemSink each) {
    inner().get_many(
        keys, [&](std::size_t i, std::string_view value) { each({.index = i, .value = value}); });
    return StoreAnswer{};
  };
  around(read_call(StoreOp::get_many, "get_many", keys, deliver), go);
}

bool AroundLayer::put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) {
  const Item item{key, value, ttl};
  StoreCall call = write_call(StoreOp::put, "put", {});
  call.items = {&item, 1};
  call.mode = mode;
  const auto go = [&](StoreItemSink) {
    return StoreAnswer{.done = inner().put(key, value, ttl, mode)};
  };
  return around(call, go).done;
}

void AroundLayer::put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) {
  const auto deliver = [&](const StoreItem& item) { on_failure(item.index); };
  StoreCall call = write_call(StoreOp::put_many, "put_many", {}, deliver);
  call.items = items;
  call.mode = mode;
  const auto go = [&](StoreItemSink each) {
    inner().put_many(items, mode, [&](std::size_t i) { each({.index = i}); });
    return StoreAnswer{};
  };
  around(call, go);
}

bool AroundLayer::touch(std::string_view key, Ttl ttl, ValueSink head) {
  const auto deliver = [&](const StoreItem& item) { head(value_of(item)); };
  StoreCall call = write_call(StoreOp::touch, "touch", {&key, 1}, deliver);
  call.new_ttl = ttl;
  const auto go = [&](StoreItemSink each) {
    return StoreAnswer{
        .done = inner().touch(key, ttl, [&](std::string_view value) { each({.value = value}); })};
  };
  return around(call, go).done;
}

bool AroundLayer::erase(std::string_view key) {
  const auto go = [&](StoreItemSink) { return StoreAnswer{.done = inner().erase(key)}; };
  return around(write_call(StoreOp::erase, "erase", {&key, 1}), go).done;
}

std::size_t AroundLayer::erase_many(std::span<const std::string_view> keys) {
  const auto go = [&](StoreItemSink) {
    return StoreAnswer{.number = static_cast<std::int64_t>(inner().erase_many(keys))};
  };
  return count_of(around(write_call(StoreOp::erase_many, "erase_many", keys), go));
}

void AroundLayer::clear() {
  const auto go = [&](StoreItemSink) {
    inner().clear();
    return StoreAnswer{};
  };
  around(write_call(StoreOp::clear, "clear", {}), go);
}

std::optional<std::int64_t> AroundLayer::incr(std::string_view key, std::int64_t delta) {
  StoreCall call = write_call(StoreOp::incr, "incr", {&key, 1});
  call.delta = delta;
  const auto go = [&](StoreItemSink) {
    const std::optional<std::int64_t> sum = inner().incr(key, delta);
    return StoreAnswer{.done = sum.has_value(), .number = sum};
  };
  return around(call, go).number;
}

AroundLayerFactory::~AroundLayerFactory() = default;

StoreTraits AroundLayerFactory::traits() const noexcept {
  return transparency_.early_refusals ? inner().traits() : LayerFactory::traits();
}

void* AroundLayerFactory::extension(std::string_view id) noexcept {
  if (!FactoryExtensions::has(id) && !transparency_.unknown_extensions) return nullptr;
  return inner().extension(id);
}

}  // namespace polycache
