/* rightsx.h: the order book of rightsx for programs in C. Written by rightsx.embed; do not edit.

   Start Python once, rightsx_load(&api), and call its functions over your own memory; Python must stay
   loaded, but no call needs it. Little-endian, 64 bits. Prices are any int64_t, quantities 1 to
   1099511627775, ids positive. The book is for one thread at a time. */
#ifndef RIGHTSX_H
#define RIGHTSX_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
#define RIGHTSX_ASSERT static_assert
#else
#define RIGHTSX_ASSERT _Static_assert
#endif

/* All is done; of best and depth_at: there is such a level. */
#define RIGHTSX_DONE 1
/* No room for reports. Read them, let progress.report be 0, call again with the same commands. */
#define RIGHTSX_FULL 2
/* commands[progress.command] has not begun: a new price might find no room. Cancel, or leave it out. */
#define RIGHTSX_CAPACITY 3
/* There is no such level. */
#define RIGHTSX_EMPTY 4
/* A wrong call: limits, a block that was moved or never made, room for fewer than 3 reports, other commands
   than those that were FULL; or commands[progress.command] is no PLACE, CANCEL or AMEND. */
#define RIGHTSX_BAD 5

#define RIGHTSX_PLACE 1
#define RIGHTSX_CANCEL 2
#define RIGHTSX_AMEND 3

#define RIGHTSX_SIDE_BUY 1
#define RIGHTSX_SIDE_SELL 2

#define RIGHTSX_TIME_GTC 1
#define RIGHTSX_TIME_IOC 3
#define RIGHTSX_TIME_FOK 4

#define RIGHTSX_FLAG_POST_ONLY 1
#define RIGHTSX_FLAG_CANCEL_MAKER 8
#define RIGHTSX_FLAG_CANCEL_BOTH 16

#define RIGHTSX_AMEND_PRICE 1
#define RIGHTSX_AMEND_QTY 2

#define RIGHTSX_REPORT_ACCEPTED 1
#define RIGHTSX_REPORT_FILL 2
#define RIGHTSX_REPORT_CANCELLED 3
#define RIGHTSX_REPORT_AMENDED 4
#define RIGHTSX_REPORT_REFUSED 5

#define RIGHTSX_REFUSED_BadQuantity 2
#define RIGHTSX_REFUSED_BadTerms 6
#define RIGHTSX_REFUSED_UnknownSeries 9
#define RIGHTSX_REFUSED_OrderNotOpen 11
#define RIGHTSX_REFUSED_NotOwner 12
#define RIGHTSX_REFUSED_DuplicateId 13
#define RIGHTSX_REFUSED_PostOnlyWouldCross 42
#define RIGHTSX_REFUSED_FOKUnfillable 43
#define RIGHTSX_REFUSED_CapacityExceeded 48

#define RIGHTSX_CANCELLED_USER 101
#define RIGHTSX_CANCELLED_IOC 102
#define RIGHTSX_CANCELLED_SELF_TRADE 104

/* The most resting orders, books and prices at once; handles is 1 if the book issues ids. */
struct rightsx_limits {
    int64_t orders;
    int64_t books;
    int64_t levels;
    int64_t handles;
};
RIGHTSX_ASSERT(sizeof(struct rightsx_limits) == 32, "limits");
RIGHTSX_ASSERT(offsetof(struct rightsx_limits, orders) == 0, "limits.orders");
RIGHTSX_ASSERT(offsetof(struct rightsx_limits, books) == 8, "limits.books");
RIGHTSX_ASSERT(offsetof(struct rightsx_limits, levels) == 16, "limits.levels");
RIGHTSX_ASSERT(offsetof(struct rightsx_limits, handles) == 24, "limits.handles");

/* What is asked: PLACE, CANCEL or AMEND. series chooses the book, from 0; fields without a use are 0. */
struct rightsx_command {
    int64_t time_ns;
    uint8_t kind;
    uint8_t side;
    uint8_t time_in_force;
    uint8_t flags;
    uint32_t series;
    uint32_t account;
    uint32_t other_account;
    int64_t order_id;
    int64_t price;
    int64_t qty;
    int64_t deadline_ns;
    int64_t display;
    int64_t stop_price;
    uint64_t ref;
};
RIGHTSX_ASSERT(sizeof(struct rightsx_command) == 80, "command");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, time_ns) == 0, "command.time_ns");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, kind) == 8, "command.kind");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, side) == 9, "command.side");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, time_in_force) == 10, "command.time_in_force");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, flags) == 11, "command.flags");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, series) == 12, "command.series");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, account) == 16, "command.account");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, other_account) == 20, "command.other_account");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, order_id) == 24, "command.order_id");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, price) == 32, "command.price");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, qty) == 40, "command.qty");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, deadline_ns) == 48, "command.deadline_ns");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, display) == 56, "command.display");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, stop_price) == 64, "command.stop_price");
RIGHTSX_ASSERT(offsetof(struct rightsx_command, ref) == 72, "command.ref");

/* What the book says. command_index is the row of the command that it answers. */
struct rightsx_report {
    int64_t order_id;
    int64_t other_order_id;
    int64_t price;
    int64_t qty;
    uint32_t command_index;
    uint32_t series;
    uint32_t account;
    uint8_t kind;
    uint8_t side;
    uint16_t code;
};
RIGHTSX_ASSERT(sizeof(struct rightsx_report) == 48, "report");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, order_id) == 0, "report.order_id");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, other_order_id) == 8, "report.other_order_id");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, price) == 16, "report.price");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, qty) == 24, "report.qty");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, command_index) == 32, "report.command_index");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, series) == 36, "report.series");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, account) == 40, "report.account");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, kind) == 44, "report.kind");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, side) == 45, "report.side");
RIGHTSX_ASSERT(offsetof(struct rightsx_report, code) == 46, "report.code");

/* How far a batch is: the next command, and the reports written. Begin with zeros. */
struct rightsx_progress {
    int64_t command;
    int64_t report;
};
RIGHTSX_ASSERT(sizeof(struct rightsx_progress) == 16, "progress");
RIGHTSX_ASSERT(offsetof(struct rightsx_progress, command) == 0, "progress.command");
RIGHTSX_ASSERT(offsetof(struct rightsx_progress, report) == 8, "progress.report");

/* A price with the quantity that it shows and its orders. */
struct rightsx_level {
    int64_t price;
    int64_t qty;
    int64_t orders;
};
RIGHTSX_ASSERT(sizeof(struct rightsx_level) == 24, "level");
RIGHTSX_ASSERT(offsetof(struct rightsx_level, price) == 0, "level.price");
RIGHTSX_ASSERT(offsetof(struct rightsx_level, qty) == 8, "level.qty");
RIGHTSX_ASSERT(offsetof(struct rightsx_level, orders) == 16, "level.orders");

struct rightsx_api {
    /* The bytes of a block of these limits, 0 if there is none. Need not be zeroed; aligned to 8 bytes. */
    int64_t (*bytes_needed)(const struct rightsx_limits *limits);
    /* Lays out empty books: DONE or BAD. */
    int64_t (*init)(void *block, const struct rightsx_limits *limits);
    /* Applies commands[progress->command .. count), writes reports[progress->report .. room): DONE, FULL, CAPACITY, BAD. */
    int64_t (*apply_batch)(void *block, const struct rightsx_command *commands, int64_t count, struct rightsx_report *reports, int64_t room, struct rightsx_progress *progress);
    /* The best price of a side: DONE, EMPTY, BAD. */
    int64_t (*best)(const void *block, int64_t book, int64_t side, int64_t *price);
    /* The level that has `place` better ones: DONE, EMPTY, BAD. Walks there and over its orders. */
    int64_t (*depth_at)(const void *block, int64_t book, int64_t side, int64_t place, struct rightsx_level *level);
};

#ifdef Py_PYTHON_H
#include <string.h>
/* Asks Python for the addresses; the first time ever this compiles for some seconds. 0, or -1 with a Python error set. */
static inline int rightsx_load(struct rightsx_api *api) {
    PyObject *module = PyImport_ImportModule("rightsx.embed");
    PyObject *bytes = module ? PyObject_CallMethod(module, "api", NULL) : NULL;
    int good = bytes && PyBytes_Size(bytes) == (Py_ssize_t)sizeof *api;
    if (good) memcpy(api, PyBytes_AsString(bytes), sizeof *api);
    Py_XDECREF(bytes);
    Py_XDECREF(module);
    return good ? 0 : -1;
}
#endif

#endif
