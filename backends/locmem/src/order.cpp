#include "order.h"

#include "order_lfu.h"
#include "order_queue.h"
#include "order_s3_fifo.h"

namespace polycache::locmem {

Order::~Order() = default;

void Order::evict(Entry& entry, std::uint64_t) noexcept { remove(entry); }

std::unique_ptr<Order> Order::make(Policy policy) {
  switch (policy) {
    case Policy::s3_fifo:
      return std::make_unique<S3FifoOrder>();
    case Policy::lfu:
      return std::make_unique<LfuOrder>();
    case Policy::fifo:
      return std::make_unique<QueueOrder>(QueueOrder::Use::is_nothing);
    case Policy::lru:
    case Policy::django:
      break;
  }
  return std::make_unique<QueueOrder>(QueueOrder::Use::renews);
}

}  // namespace polycache::locmem
