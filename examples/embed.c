/* The order book in a C program: Python is started once, for the addresses; no order needs it.

     cc -I<rightsx>/include $(python3-config --includes) embed.c $(python3-config --embed --ldflags) -o embed

   Prints each report and the best prices at the end. With -DNO_PYTHON only `trade` is compiled, for a
   program that has the addresses from elsewhere. */
#ifndef NO_PYTHON
#include <Python.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include "rightsx.h"

#define COUNT(array) (int64_t)(sizeof(array) / sizeof(array)[0])

static struct rightsx_command order(int64_t id, int side, int64_t price, int64_t qty) {
    return (struct rightsx_command){.kind = RIGHTSX_PLACE, .side = side, .time_in_force = RIGHTSX_TIME_GTC,
                                    .order_id = id, .price = price, .qty = qty};
}

int trade(const struct rightsx_api *book) {
    struct rightsx_limits limits = {.orders = 1000, .books = 1, .levels = 100};
    void *block = malloc(book->bytes_needed(&limits));
    if (!block || book->init(block, &limits) != RIGHTSX_DONE) return 1;
    struct rightsx_command commands[] = {
        order(1, RIGHTSX_SIDE_SELL, 101, 5), order(2, RIGHTSX_SIDE_SELL, 102, 5), order(3, RIGHTSX_SIDE_BUY, 99, 4),
        order(4, RIGHTSX_SIDE_BUY, 102, 7), {.kind = RIGHTSX_CANCEL, .order_id = 3}, {.kind = RIGHTSX_CANCEL, .order_id = 3},
    };
    struct rightsx_report reports[4];  /* few, so that the batch is full now and then */
    struct rightsx_progress at = {0};
    int64_t ended;
    do {
        ended = book->apply_batch(block, commands, COUNT(commands), reports, COUNT(reports), &at);
        for (int64_t i = 0; i < at.report; i++)
            printf("command %u kind %u order %lld other %lld price %lld qty %lld code %u\n", reports[i].command_index,
                   reports[i].kind, (long long)reports[i].order_id, (long long)reports[i].other_order_id,
                   (long long)reports[i].price, (long long)reports[i].qty, reports[i].code);
        at.report = 0;
    } while (ended == RIGHTSX_FULL);
    struct rightsx_level level;
    int64_t price, bids = book->best(block, 0, RIGHTSX_SIDE_BUY, &price);
    if (book->depth_at(block, 0, RIGHTSX_SIDE_SELL, 0, &level) == RIGHTSX_DONE && bids == RIGHTSX_EMPTY)
        printf("no bids, %lld asked for %lld\n", (long long)level.qty, (long long)level.price);
    free(block);
    return ended != RIGHTSX_DONE;
}

#ifndef NO_PYTHON
int main(void) {
    struct rightsx_api book;
    Py_Initialize();
    if (rightsx_load(&book)) return PyErr_Print(), 1;
    return trade(&book);
}
#endif
