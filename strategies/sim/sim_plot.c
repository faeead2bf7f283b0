/* sim_plot.c - shares of the routes over time as an SVG of stacked areas. */
#include "strategies/sim/sim.h"

#define WIDTH  960.0
#define HEIGHT 240.0
#define LEFT   40.0
#define TOP    30.0

static const char *const colours[ROUTES + 1] = {"#2f6db3", "#e0902f", "#8a4fa3", "#3f9a55",
                                                "#c9c9c9"};

/* Share of everything up to this route in an hour. */
static double level(const struct totals *t, unsigned hour, unsigned upto)
{
    double sum = 0, part = 0;

    for (unsigned r = 0; r <= ROUTES; r++) {
        sum += t->route_hour[hour][r];
        part += r < upto ? t->route_hour[hour][r] : 0;
    }
    return sum > 0 ? part / sum : 0;
}

static void area(FILE *f, const struct totals *t, unsigned hours, unsigned r)
{
    (void)fprintf(f, "<polygon fill=\"%s\" points=\"", colours[r]);
    for (unsigned h = 0; h < hours; h++)
        (void)fprintf(f, "%.1f,%.1f ", LEFT + WIDTH * h / hours,
                      TOP + HEIGHT * (1 - level(t, h, r)));
    for (unsigned h = hours; h-- > 0;)
        (void)fprintf(f, "%.1f,%.1f ", LEFT + WIDTH * h / hours,
                      TOP + HEIGHT * (1 - level(t, h, r + 1)));
    (void)fprintf(f, "\"/>\n");
}

bool plot(const char *directory, const struct scenario *s, const struct totals *t)
{
    char path[1024];
    unsigned hours = s->days * 24;

    if (snprintf(path, sizeof path, "%s/%s.svg", directory, s->name) >= (int)sizeof path)
        return false;
    FILE *f = fopen(path, "w");
    if (f == NULL)
        return false;
    (void)fprintf(f,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1020\" height=\"320\" "
                  "font-family=\"sans-serif\" font-size=\"12\">\n<text x=\"40\" y=\"18\">%s (%s): "
                  "shares by hour</text>\n",
                  s->name, s->strategy);
    for (unsigned r = 0; r <= ROUTES; r++) {
        area(f, t, hours, r);
        (void)fprintf(f,
                      "<rect x=\"%.0f\" y=\"300\" width=\"12\" height=\"12\" fill=\"%s\"/>"
                      "<text x=\"%.0f\" y=\"310\">%s</text>\n",
                      LEFT + 120.0 * r, colours[r], LEFT + 18 + 120.0 * r,
                      r < ROUTES ? route_names[r] : "held");
    }
    for (unsigned day = 0; day <= s->days; day++)
        (void)fprintf(f, "<text x=\"%.0f\" y=\"288\">%u</text>\n", LEFT + WIDTH * day / s->days,
                      day);
    if (s->fault != FAULT_NONE)
        (void)fprintf(f,
                      "<rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"4\" fill=\"#c22\"/>\n",
                      LEFT + WIDTH * s->from_day / s->days, TOP - 6,
                      WIDTH * (s->to_day - s->from_day) / s->days);
    (void)fprintf(f, "</svg>\n");
    return fclose(f) == 0;
}
